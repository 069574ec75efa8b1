import Linux
import Synchronization

/// How many descriptors all shares together may hold: what the process may open, less some for everything
/// else it does. A guest that opens without end must not starve its own machine's other devices.
final class DescriptorBudget: Sendable {
    private static let reserve = 1024

    private let left: Atomic<Int>

    init(limit: Int) {
        left = Atomic(max(limit - Self.reserve, limit / 2))
    }

    /// Takes one, if there is one left.
    func take() -> Bool {
        if left.wrappingSubtract(1, ordering: .relaxed).newValue >= 0 { return true }
        give(1)
        return false
    }

    func give(_ count: Int) {
        left.wrappingAdd(count, ordering: .relaxed)
    }
}
