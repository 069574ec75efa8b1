/// What a socket device counts.
public final class VsockMetrics: Sendable {
    /// Packets and payload bytes taken from the guest's transmit queue.
    public let packetsFromGuest = Counter()
    public let bytesFromGuest = Counter()
    /// Packets and payload bytes put into the guest's receive queue.
    public let packetsToGuest = Counter()
    public let bytesToGuest = Counter()
    /// Connections established, from either side.
    public let connections = Counter()
    /// Connections that were not: nobody listens, too many, or no answer in time.
    public let refused = Counter()
    /// Connections ended because the guest broke the protocol.
    public let violations = Counter()
    /// Packets ignored: too short, a foreign source, or an answer to nothing.
    public let dropped = Counter()
    /// Times there was something for the guest and no buffer to put it in.
    public let stalls = Counter()
    /// Times the device's thread woke up.
    public let wakeups = Counter()
}
