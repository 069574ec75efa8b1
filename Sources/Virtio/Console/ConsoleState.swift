/// What a snapshot keeps of a console: nothing. A restored machine has a log of its own, and a driver's
/// buffers are in guest memory.
public struct ConsoleState: Equatable, Sendable {
    public init() {}
}
