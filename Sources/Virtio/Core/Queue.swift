import GuestMemory
import Linux

/// Where a split queue lies, as the driver set it before DRIVER_OK (virtio 1.2, 2.7). Immutable, so
/// nothing the driver writes later can move a ring under a device.
public struct QueueConfiguration: Equatable, Sendable {
    public var size: UInt16
    public var descriptorTable: UInt64
    public var availableRing: UInt64
    public var usedRing: UInt64

    public init(size: UInt16, descriptorTable: UInt64, availableRing: UInt64, usedRing: UInt64) {
        self.size = size
        self.descriptorTable = descriptorTable
        self.availableRing = availableRing
        self.usedRing = usedRing
    }
}

/// How far a queue is; all of them wrap at 65,536.
public struct QueuePosition: Equatable, Sendable {
    /// Next entry of the available ring to take.
    public var nextAvailable: UInt16
    /// Next entry of the used ring to fill.
    public var nextUsed: UInt16
    /// `nextUsed` when the driver was last told.
    public var signalledUsed: UInt16

    public init(nextAvailable: UInt16 = 0, nextUsed: UInt16 = 0, signalledUsed: UInt16 = 0) {
        self.nextAvailable = nextAvailable
        self.nextUsed = nextUsed
        self.signalledUsed = signalledUsed
    }
}

/// The device side of a split virtqueue (virtio 1.2, 2.7). Owned by one thread at a time.
public final class Queue: @unchecked Sendable {
    public let configuration: QueueConfiguration
    /// Signalled when the driver notifies the queue.
    public let notification: EventDescriptor

    private let memory: GuestMemory
    private let interrupt: Interrupt
    private let eventIndex: Bool
    private let indirect: Bool
    private let size: UInt16
    private let descriptors: GuestSlice
    private let available: GuestSlice
    private let used: GuestSlice

    /// Next entry of the available ring to take, and of the used ring to fill; both wrap at 65,536.
    public private(set) var nextAvailable: UInt16
    public private(set) var nextUsed: UInt16
    /// `nextUsed` when the driver was last told.
    private var signalledUsed: UInt16

    /// - Throws: `badConfiguration` or `memory` when the rings do not lie in guest memory.
    public init(
        _ configuration: QueueConfiguration, memory: GuestMemory, features: UInt64, notification: EventDescriptor, interrupt: Interrupt,
        position: QueuePosition = QueuePosition()
    ) throws(QueueError) {
        let size = UInt64(configuration.size)
        guard size > 0, size <= 32768, size & (size - 1) == 0 else { throw .badConfiguration("size \(size)") }
        guard configuration.descriptorTable % 16 == 0, configuration.availableRing % 2 == 0, configuration.usedRing % 4 == 0 else {
            throw .badConfiguration("alignment")
        }
        self.configuration = configuration
        self.memory = memory
        self.notification = notification
        self.interrupt = interrupt
        self.size = configuration.size
        nextAvailable = position.nextAvailable
        nextUsed = position.nextUsed
        signalledUsed = position.signalledUsed
        eventIndex = features & Feature.ringEventIndex != 0
        indirect = features & Feature.ringIndirectDescriptors != 0
        do {
            descriptors = try memory.slice(configuration.descriptorTable, 16 * size)
            available = try memory.slice(configuration.availableRing, 6 + 2 * size)
            used = try memory.slice(configuration.usedRing, 6 + 8 * size)
        } catch { throw .memory(error) }
    }

    /// How far the queue is, with the requests taken but not answered put back: they come again. Exact for a device
    /// that answers in order; any other must have answered everything. For a device that is paused.
    var position: QueuePosition {
        QueuePosition(nextAvailable: nextUsed, nextUsed: nextUsed, signalledUsed: signalledUsed)
    }

    // MARK: Taking requests

    /// Takes the next request into `chain`, if there is one.
    ///
    /// - Throws: what the driver did wrong; the queue is unusable then (``Interrupt/signalBroken()``).
    public func pop(into chain: inout DescriptorChain) throws(QueueError) -> Bool {
        do {
            let end = try available.loadAcquire(at: 2)
            if end == nextAvailable { return false }
            if end &- nextAvailable > size { throw QueueError.indexJumped(from: nextAvailable, to: end) }
            let head: UInt16 = try available.load(at: 4 + 2 * Int(nextAvailable & (size - 1)))
            guard head < size else { throw QueueError.headOutOfRange(head) }
            try read(head, into: &chain)
            nextAvailable &+= 1
            return true
        } catch let error as QueueError {
            throw error
        } catch let error as GuestMemoryError {
            throw .memory(error)
        } catch {
            throw .badIndirectTable
        }
    }

    /// Gives back the last `count` chains popped, none of them pushed: they come again.
    public func putBack(_ count: Int) {
        nextAvailable &-= UInt16(truncatingIfNeeded: count)
    }

    private struct Flags {
        static let next: UInt16 = 1
        static let write: UInt16 = 2
        static let indirect: UInt16 = 4
    }

    /// Most entries of an indirect table: Linux may use more than the queue has (virtio_ring.c,
    /// virtqueue_add_split), and a FUSE request of 1 MiB needs about 260.
    private static let indirectLimit = 1024

    private func read(_ head: UInt16, into chain: inout DescriptorChain) throws {
        chain.head = head
        chain.readable.removeAll()
        chain.writable.removeAll()
        var table = descriptors
        var limit = Int(size)
        var index = head
        var seen = 0
        var inIndirect = false
        while true {
            let entry = try table.slice(at: 16 * Int(index), count: 16)
            let address: UInt64 = try entry.load(at: 0)
            let length: UInt32 = try entry.load(at: 8)
            let flags: UInt16 = try entry.load(at: 12)
            let next: UInt16 = try entry.load(at: 14)

            if flags & Flags.indirect != 0 {
                guard indirect else { throw QueueError.indirectNotNegotiated }
                guard !inIndirect, flags & Flags.next == 0, length > 0, length % 16 == 0 else { throw QueueError.badIndirectTable }
                table = try memory.slice(address, UInt64(length))
                limit = min(Int(length) / 16, Self.indirectLimit)
                index = 0
                seen = 0
                inIndirect = true
                continue
            }

            let slice = try memory.buffer(address, UInt64(length))
            if flags & Flags.write != 0 {
                chain.writable.append(slice)
            } else {
                guard chain.writable.isEmpty else { throw QueueError.readableAfterWritable }
                chain.readable.append(slice)
            }
            // What a used-ring entry can say, and more than any request here needs.
            guard chain.readable.remaining + chain.writable.remaining <= Int(UInt32.max) else { throw QueueError.chainTooLarge }

            if flags & Flags.next == 0 { return }
            seen += 1
            guard seen < limit else { throw QueueError.chainTooLong }
            guard Int(next) < limit else { throw QueueError.nextOutOfRange(next) }
            index = next
        }
    }

    // MARK: Answering

    /// Gives a chain back with `written` bytes in its writable part. The driver sees it at once; tell it
    /// with ``signalIfNeeded()`` after the last of a batch.
    public func push(_ head: UInt16, written: UInt32) throws(QueueError) {
        do {
            let entry = 4 + 8 * Int(nextUsed & (size - 1))
            try used.store(UInt32(head), at: entry)
            try used.store(written, at: entry + 4)
            nextUsed &+= 1
            try used.storeRelease(nextUsed, at: 2)
        } catch { throw .memory(error) }
    }

    /// Interrupts the driver if it wants to hear of what was pushed since the last call.
    public func signalIfNeeded() throws(QueueError) {
        if try takeSignal() { interrupt.signalQueue() }
    }

    /// Whether the driver wants to hear of what was pushed since the last call; the caller interrupts it
    /// then, perhaps once for several queues.
    public func takeSignal() throws(QueueError) -> Bool {
        guard nextUsed != signalledUsed else { return false }
        // virtio 1.2, 2.7.7.2: the index must be visible before the driver's wish is read.
        memoryFence()
        let wanted: Bool
        do {
            if eventIndex {
                let event: UInt16 = try available.load(at: 4 + 2 * Int(size))
                wanted = nextUsed &- event &- 1 < nextUsed &- signalledUsed
            } else {
                let flags: UInt16 = try available.load(at: 0)
                wanted = flags & 1 == 0
            }
        } catch { throw .memory(error) }
        signalledUsed = nextUsed
        return wanted
    }

    // MARK: Notifications

    /// Asks the driver to notify at its next request.
    ///
    /// - Returns: whether requests came in before the wish was visible: pop again then.
    public func enableNotifications() throws(QueueError) -> Bool {
        do {
            if eventIndex {
                try used.store(nextAvailable, at: 4 + 8 * Int(size))
            } else {
                try used.store(UInt16(0), at: 0)
            }
            memoryFence()
            return try available.loadAcquire(at: 2) != nextAvailable
        } catch { throw .memory(error) }
    }

    /// Tells the driver that it need not notify: the device is looking anyway. With event indices there
    /// is nothing to do: an old index does not fire again.
    public func disableNotifications() throws(QueueError) {
        guard !eventIndex else { return }
        do { try used.store(UInt16(1), at: 0) } catch { throw .memory(error) }
    }
}
