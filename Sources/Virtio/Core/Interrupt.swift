import Linux
import Synchronization

/// A device's interrupt line: an eventfd KVM turns into an edge (irqfd), and the status register the
/// driver reads to learn why (virtio 1.2, 4.2.2, InterruptStatus).
public final class Interrupt: Sendable {
    static let usedBuffer: UInt32 = 1
    static let configurationChange: UInt32 = 2

    public let event: EventDescriptor
    private let pending = Atomic<UInt32>(0)
    private let brokenBit = Atomic<Bool>(false)
    private let raisedCount = Atomic<UInt64>(0)

    public init() throws(SystemError) {
        event = try EventDescriptor()
    }

    /// Tells the driver that a queue has used buffers.
    public func signalQueue() { raise(Self.usedBuffer) }

    /// Tells the driver that the configuration space changed.
    public func signalConfiguration() { raise(Self.configurationChange) }

    /// The driver broke the protocol: DEVICE_NEEDS_RESET shows in the status register until it resets.
    public func signalBroken() {
        brokenBit.store(true, ordering: .releasing)
        raise(Self.configurationChange)
    }

    /// InterruptStatus as read by the driver.
    public var status: UInt32 { pending.load(ordering: .acquiring) }

    /// Whether DEVICE_NEEDS_RESET is due.
    public var isBroken: Bool { brokenBit.load(ordering: .acquiring) }

    /// Interrupts raised since the start.
    public var count: UInt64 { raisedCount.load(ordering: .relaxed) }

    func acknowledge(_ bits: UInt32) { pending.bitwiseAnd(~bits, ordering: .acquiringAndReleasing) }

    /// Takes saved bits; nothing is raised.
    func restore(pending bits: UInt32, isBroken: Bool) {
        pending.store(bits & (Self.usedBuffer | Self.configurationChange), ordering: .releasing)
        brokenBit.store(isBroken, ordering: .releasing)
    }

    func reset() {
        pending.store(0, ordering: .releasing)
        brokenBit.store(false, ordering: .releasing)
    }

    private func raise(_ bit: UInt32) {
        pending.bitwiseOr(bit, ordering: .acquiringAndReleasing)
        raisedCount.wrappingAdd(1, ordering: .relaxed)
        event.signal()
    }
}
