/// What a persistent memory device counts.
public final class PmemMetrics: Sendable {
    public let flushes = Counter()
    /// Requests that are no flush, or too short to be one.
    public let badRequests = Counter()
}
