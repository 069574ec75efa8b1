/// A bundle's config.json (OCI runtime-spec 1.2 and the fields 1.3 adds, config.md).
///
/// Field names are those of the JSON, type names those of the specification's Go package.
public struct Spec: Codable, Sendable, Equatable {
    /// The runtime-spec version the bundle was written for, a SemVer 2.0.0 string.
    public var ociVersion: String
    /// Absent only for a container that is created and never started.
    public var process: Process?
    public var root: Root?
    @OmitEmpty public var hostname: String
    @OmitEmpty public var domainname: String
    /// Mounted in this order, on top of ``root``.
    @OmitEmpty public var mounts: [Mount]
    public var hooks: Hooks?
    @OmitEmpty public var annotations: [String: String]
    public var linux: LinuxConfig?
    public var vm: VM?

    public init(ociVersion: String = Spec.version) {
        self.ociVersion = ociVersion
    }

    /// The newest specification these types follow.
    public static let version = "1.2.1"
}

/// The container's root file system.
public struct Root: Codable, Sendable, Equatable {
    /// On the host; relative to the bundle unless absolute.
    public var path: String
    @OmitEmpty public var readonly: Bool

    public init(path: String, readonly: Bool = false) {
        self.path = path
        self.readonly = readonly
    }
}

extension Spec {
    /// Whether the container has a network stack of its own in its machine. Otherwise the machine's is the container's: nobody else is in it. A user
    /// namespace needs one it owns, for sysfs and for its capabilities. (A new one costs 0.5 s where KVM interprets the guest kernel.)
    public var hasOwnNetwork: Bool {
        let namespaces = linux?.namespaces ?? []
        return namespaces.contains { $0.type == .network && $0.path.isEmpty } && namespaces.contains { $0.type == .user }
    }
}

/// One entry of `mounts`.
public struct Mount: Codable, Sendable, Equatable {
    /// Absolute path inside the container.
    public var destination: String
    @OmitEmpty public var type: String
    @OmitEmpty public var source: String
    /// As in fstab: flags by name, and what is no flag is data for the file system.
    @OmitEmpty public var options: [String]
    @OmitEmpty public var uidMappings: [LinuxIDMapping]
    @OmitEmpty public var gidMappings: [LinuxIDMapping]

    public init(destination: String, type: String = "", source: String = "", options: [String] = []) {
        self.destination = destination
        self.type = type
        self.source = source
        self.options = options
    }
}

/// Programs run at the container's state changes (config.md, POSIX-platform hooks).
public struct Hooks: Codable, Sendable, Equatable {
    @OmitEmpty public var prestart: [Hook]
    @OmitEmpty public var createRuntime: [Hook]
    @OmitEmpty public var createContainer: [Hook]
    @OmitEmpty public var startContainer: [Hook]
    @OmitEmpty public var poststart: [Hook]
    @OmitEmpty public var poststop: [Hook]

    public init() {}

    /// Whether any runs before the container is made.
    public var runsBeforeContainer: Bool { !prestart.isEmpty || !createRuntime.isEmpty || !createContainer.isEmpty }
}

/// One hook: it gets the container's ``State`` on standard input.
public struct Hook: Codable, Sendable, Equatable {
    /// Absolute.
    public var path: String
    /// As `execv`'s argv, the name first.
    @OmitEmpty public var args: [String]
    /// `NAME=value` strings; nil: those of whoever runs the hook, as runc and crun have it.
    public var env: [String]?
    /// Seconds, greater than zero.
    public var timeout: Int?

    public init(path: String, args: [String] = [], env: [String]? = nil, timeout: Int? = nil) {
        self.path = path
        self.args = args
        self.env = env
        self.timeout = timeout
    }
}
