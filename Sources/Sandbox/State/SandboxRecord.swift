public import OCI

/// What a sandbox's directory says about it: `state.json`, written by its monitor only.
public struct SandboxRecord: Codable, Sendable, Equatable {
    public static let currentVersion = 1

    public var version = SandboxRecord.currentVersion
    public let id: String
    /// On the host: the process that stands for the container, and the one that owns its machine.
    public let pid: Int32
    public let monitor: Int32
    /// Directories of the host's cgroups made for it.
    @OmitEmpty public var cgroups: [String]
    public var status: State.Status
    /// Absolute paths.
    public let bundle: String
    public let rootfs: String
    /// RFC 3339 with nanoseconds.
    public let created: String
    public let ociVersion: String
    @OmitEmpty public var annotations: [String: String]
    /// The directory goes when the monitor does, as for a foreground `run`.
    public var isTransient: Bool
    /// Set once the container has ended.
    public var exitStatus: Int32?
    /// The sandbox whose machine it is in; nil: its own.
    public var machineOf: String?
    /// Of its first process, in the guest.
    public var guestPID: UInt32?

    public init(
        id: String, pid: Int32, monitor: Int32, status: State.Status, bundle: String, rootfs: String, created: String, ociVersion: String,
        annotations: [String: String], isTransient: Bool
    ) {
        self.id = id
        self.pid = pid
        self.monitor = monitor
        cgroups = []
        self.status = status
        self.bundle = bundle
        self.rootfs = rootfs
        self.created = created
        self.ociVersion = ociVersion
        self.annotations = annotations
        self.isTransient = isTransient
    }

    /// What `state` prints and hooks read.
    public var state: State {
        var state = State(id: id, status: status, pid: status == .stopped ? 0 : pid, bundle: bundle, ociVersion: ociVersion)
        state.rootfs = rootfs
        state.created = created
        state.annotations = annotations
        return state
    }
}
