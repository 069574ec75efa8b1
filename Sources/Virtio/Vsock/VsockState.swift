/// What a snapshot keeps of a socket device.
///
/// Connections do not survive: their other ends are processes of this host. The guest is told so by a
/// transport reset event (virtio 1.2, 5.10.6.8) before anything else reaches it. What goes on is the count of the host's ports
/// (``VsockHostPorts``).
public struct VsockState: Equatable, Sendable {
    public let guestCID: UInt64

    public init(guestCID: UInt64) {
        self.guestCID = guestCID
    }
}

/// What one guest may hold and for how long. Tests make them smaller.
public struct VsockLimits: Sendable {
    /// Connections at once, including those whose last bytes still wait for a slow reader.
    public var connections = 2048
    /// Host connections that have not said which port they want, or got no answer from the guest.
    public var halfOpen = 256
    /// How long a handshake may take.
    public var handshakeNanoseconds: UInt64 = 10_000_000_000
    /// How long the guest may take to reset a connection that both sides have shut down.
    public var closingNanoseconds: UInt64 = 10_000_000_000
    /// What is buffered at most of a connection's bytes when its reader is slow, while there are few…
    public var window: UInt32 = 256 << 10
    /// …connections…
    public var fewConnections = 64
    /// …and beyond that: slow readers of all connections together cost 78 MiB.
    public var smallWindow: UInt32 = 32 << 10

    public init() {}
}
