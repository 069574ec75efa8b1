public import OCI

/// Everything a monitor must know to run one container; a front end sends it to its monitor as JSON.
public struct Launch: Codable, Sendable, Equatable {
    public enum Mode: String, Codable, Sendable {
        /// The caller's process is the monitor, and its exit status the container's.
        case foreground
        /// Started at once, by a monitor that outlives the caller.
        case detached
        /// Started by a later command.
        case create
    }

    public let id: String
    /// Absolute path.
    public let bundle: String
    /// The configuration, absolute or from the bundle on.
    public var config = Bundle.configName
    /// The root of all state, absolute.
    public let root: String
    public let mode: Mode
    public var machine = SandboxMachine.Options()
    /// The operator's choice; nil: what the spec needs.
    public var cpus: Int?
    /// Bytes.
    public var memory: Int?
    /// Where the monitor's process id is written, absolute.
    public var pidFile: String?
    /// Where the terminal's other end is sent, absolute.
    public var consoleSocket: String?
    /// The caller's open files that the container has too.
    public var passed: [Int32] = []
    /// How many of them systemd's `LISTEN_FDS` is about.
    public var listening = 0
    /// A snapshot's directory to go on from, absolute; nil: start the bundle's container.
    public var snapshot: String?
    /// How many machines shall wait for containers; 0: none.
    public var pool = 0
    /// State stays after the end, for `state` and `delete`.
    public var keepsState = false

    public init(id: String, bundle: String, root: String, mode: Mode) {
        self.id = id
        self.bundle = bundle
        self.root = root
        self.mode = mode
    }
}
