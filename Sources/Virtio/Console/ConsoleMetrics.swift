/// What a console counts.
public final class ConsoleMetrics: Sendable {
    /// Bytes taken from the guest.
    public let bytes = Counter()
    /// Bytes beyond what one request may carry.
    public let cut = Counter()
}
