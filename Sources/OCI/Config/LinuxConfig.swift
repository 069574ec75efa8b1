/// The `linux` object of config.json (config-linux.md).
///
/// Not called `Linux`, which is a module of this project.
public struct LinuxConfig: Codable, Sendable, Equatable {
    @OmitEmpty public var uidMappings: [LinuxIDMapping]
    @OmitEmpty public var gidMappings: [LinuxIDMapping]
    @OmitEmpty public var sysctl: [String: String]
    public var resources: LinuxResources?
    /// Relative to the cgroup mount if absolute, else to a place the runtime chooses; or, with
    /// `--systemd-cgroup`, `slice:prefix:name`.
    @OmitEmpty public var cgroupsPath: String
    @OmitEmpty public var namespaces: [LinuxNamespace]
    @OmitEmpty public var devices: [LinuxDevice]
    @OmitEmpty public var netDevices: [String: LinuxNetDevice]
    public var seccomp: LinuxSeccomp?
    public var rootfsPropagation: RootfsPropagation?
    @OmitEmpty public var maskedPaths: [String]
    @OmitEmpty public var readonlyPaths: [String]
    @OmitEmpty public var mountLabel: String
    public var intelRdt: LinuxIntelRdt?
    public var memoryPolicy: LinuxMemoryPolicy?
    public var personality: LinuxPersonality?
    /// By clock: `monotonic` and `boottime`.
    @OmitEmpty public var timeOffsets: [String: LinuxTimeOffset]

    public init() {}
}

public struct LinuxNamespace: Codable, Sendable, Equatable {
    public var type: LinuxNamespaceType
    /// An existing namespace to join; empty: a new one.
    @OmitEmpty public var path: String

    public init(type: LinuxNamespaceType, path: String = "") {
        self.type = type
        self.path = path
    }
}

public enum LinuxNamespaceType: String, Keyword {
    case pid, network, mount, ipc, uts, user, cgroup, time
}

/// A range of ids of user_namespaces(7).
public struct LinuxIDMapping: Codable, Sendable, Equatable {
    public var containerID: UInt32
    public var hostID: UInt32
    public var size: UInt32

    public init(containerID: UInt32, hostID: UInt32, size: UInt32) {
        self.containerID = containerID
        self.hostID = hostID
        self.size = size
    }
}

/// A node for mknod(2).
public struct LinuxDevice: Codable, Sendable, Equatable {
    /// Absolute path inside the container.
    public var path: String
    public var type: LinuxDeviceType
    /// Not for a FIFO.
    public var major: Int64?
    public var minor: Int64?
    /// Permission bits.
    public var fileMode: UInt32?
    public var uid: UInt32?
    public var gid: UInt32?

    public init(path: String, type: LinuxDeviceType, major: Int64? = nil, minor: Int64? = nil) {
        self.path = path
        self.type = type
        self.major = major
        self.minor = minor
    }

    /// Those every container has (config-linux.md, Default Devices).
    public static let defaults: [LinuxDevice] = [
        ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0),
    ].map { LinuxDevice(path: "/dev/\($0.0)", type: .character, major: $0.1, minor: $0.2) }
}

extension Spec {
    /// Device nodes the container has: the default ones, and those of the spec in place of one of the same path.
    public var devices: [LinuxDevice] {
        let own = linux?.devices ?? []
        return LinuxDevice.defaults.filter { device in !own.contains { $0.path == device.path } } + own
    }
}

public enum LinuxDeviceType: String, Keyword {
    case character = "c"
    case block = "b"
    case unbufferedCharacter = "u"
    case fifo = "p"
}

/// A network device of the host to move into the container (1.3); the key is its name on the host.
public struct LinuxNetDevice: Codable, Sendable, Equatable {
    @OmitEmpty public var name: String

    public init(name: String = "") {
        self.name = name
    }
}

/// mount_namespaces(7), applied to the container's root.
public enum RootfsPropagation: String, Keyword {
    case `private`, shared, slave, unbindable
    // The Go tools and runc know the recursive ones too.
    case rprivate, rshared, rslave, runbindable
}

public struct LinuxIntelRdt: Codable, Sendable, Equatable {
    @OmitEmpty public var closID: String
    @OmitEmpty public var schemata: [String]
    @OmitEmpty public var l3CacheSchema: String
    @OmitEmpty public var memBwSchema: String
    @OmitEmpty public var enableMonitoring: Bool

    public init() {}
}

/// Arguments of set_mempolicy(2) (1.3).
public struct LinuxMemoryPolicy: Codable, Sendable, Equatable {
    public var mode: String
    @OmitEmpty public var nodes: String
    @OmitEmpty public var flags: [String]

    public init(mode: String) {
        self.mode = mode
    }
}

/// Arguments of personality(2).
public struct LinuxPersonality: Codable, Sendable, Equatable {
    public var domain: LinuxPersonalityDomain
    /// The specification defines none.
    @OmitEmpty public var flags: [String]

    public init(domain: LinuxPersonalityDomain) {
        self.domain = domain
    }
}

public enum LinuxPersonalityDomain: String, Keyword {
    case linux = "LINUX"
    case linux32 = "LINUX32"
}

/// Added to a clock of time_namespaces(7).
public struct LinuxTimeOffset: Codable, Sendable, Equatable {
    public var secs: Int64?
    public var nanosecs: UInt32?

    public init(secs: Int64? = nil, nanosecs: UInt32? = nil) {
        self.secs = secs
        self.nanosecs = nanosecs
    }
}
