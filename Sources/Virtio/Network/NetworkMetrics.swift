/// What a network device counts.
public final class NetworkMetrics: Sendable {
    /// Frames and bytes, headers of virtio excepted, passed on to the tap and to the guest.
    public let framesFromGuest = Counter()
    public let bytesFromGuest = Counter()
    public let framesToGuest = Counter()
    public let bytesToGuest = Counter()
    /// Frames of the guest that were not passed on: a header that asks for what cannot be, too short, too long, no link, or the
    /// tap would not have them.
    public let dropped = Counter()
    /// Frames the guest sent from another address than its own.
    public let spoofed = Counter()
    /// Frames for the guest that its buffers were too small for.
    public let truncated = Counter()
    /// Times there was a frame for the guest, or might have been, and too few buffers.
    public let stalls = Counter()
    /// Times the tap was full.
    public let blocked = Counter()
}
