/// What `state` prints and hooks read on standard input (runtime.md, State), with the fields runc adds, in its order.
public struct State: Codable, Sendable, Equatable {
    public var ociVersion: String
    public var id: String
    /// On the host; 0 once the container has stopped.
    public var pid: Int32
    public var status: Status
    /// Absolute path.
    public var bundle: String
    @OmitEmpty public var rootfs: String
    /// RFC 3339 with nanoseconds.
    @OmitEmpty public var created: String
    @OmitEmpty public var annotations: [String: String]
    @OmitEmpty public var owner: String

    public init(id: String, status: Status, pid: Int32, bundle: String, ociVersion: String = Spec.version) {
        self.ociVersion = ociVersion
        self.id = id
        self.status = status
        self.pid = pid
        self.bundle = bundle
    }

    public enum Status: String, Keyword {
        case creating, created, running, stopped
        /// Not in the specification; as runc and crun report a frozen container.
        case paused
    }
}
