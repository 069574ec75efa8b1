/// What a snapshot keeps of an entropy device: nothing. Bytes handed out once must never come again, and
/// a restored guest starts with the full rate.
public struct EntropyState: Equatable, Sendable {
    public init() {}
}
