/// What a memory device counts.
public final class MemoryMetrics: Sendable {
    public let requests = Counter()
    /// Requests for what cannot be, or not now.
    public let refused = Counter()
}
