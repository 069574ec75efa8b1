import Synchronization

/// A number that one thread counts up and any thread reads.
public struct Counter: ~Copyable, Sendable {
    private let atomic = Atomic<UInt64>(0)

    public init() {}

    public var value: UInt64 { atomic.load(ordering: .relaxed) }

    func add(_ count: Int = 1) {
        atomic.wrappingAdd(UInt64(truncatingIfNeeded: count), ordering: .relaxed)
    }
}
