/// What an entropy device counts.
public final class EntropyMetrics: Sendable {
    public let requests = Counter()
    public let bytes = Counter()
    /// Times the guest asked faster than it may.
    public let pauses = Counter()
}
