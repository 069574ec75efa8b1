import GuestMemory
import Virtio

/// The driver side of a split queue (virtio 1.2, 2.7). The raw methods at the end let a test break
/// every rule a hostile driver could break.
public final class FakeQueue {
    /// One descriptor of a chain.
    public struct Segment: Equatable {
        public var address: UInt64
        public var count: UInt32
        public var writable: Bool

        public init(_ address: UInt64, _ count: Int, writable: Bool) {
            self.address = address
            self.count = UInt32(count)
            self.writable = writable
        }
    }

    public enum Layout: CaseIterable, Sendable { case direct, indirect }

    /// A chain the device is done with.
    public struct Used: Equatable {
        public let head: UInt16
        public let written: UInt32

        public init(head: UInt16, written: UInt32) {
            self.head = head
            self.written = written
        }
    }

    public struct Flags {
        public static let next: UInt16 = 1
        public static let write: UInt16 = 2
        public static let indirect: UInt16 = 4
    }

    public let index: Int
    public let size: UInt16
    public let descriptorTable: UInt64
    public let availableRing: UInt64
    public let usedRing: UInt64

    private unowned let driver: FakeDriver
    private let descriptors: GuestSlice
    private let available: GuestSlice
    private let used: GuestSlice

    private var free: [UInt16]
    /// Descriptors of each chain with the device, by head.
    private var outstanding: [UInt16: [UInt16]] = [:]
    /// Indirect tables, kept for the next chain with the same head.
    private var tables: [UInt16: (address: UInt64, entries: Int)] = [:]
    public private(set) var nextAvailable: UInt16 = 0
    public private(set) var lastUsed: UInt16 = 0
    /// `nextAvailable` at the last decision to notify.
    private var kicked: UInt16 = 0

    private var eventIndex: Bool { driver.features & Feature.ringEventIndex != 0 }

    init(_ driver: FakeDriver, index: Int, size: UInt16) throws(FakeDriverError) {
        self.driver = driver
        self.index = index
        self.size = size
        let count = Int(size)
        descriptorTable = try driver.structures.allocate(16 * count)
        availableRing = try driver.structures.allocate(6 + 2 * count)
        usedRing = try driver.structures.allocate(6 + 8 * count)
        do {
            descriptors = try driver.memory.slice(descriptorTable, UInt64(16 * count))
            available = try driver.memory.slice(availableRing, UInt64(6 + 2 * count))
            used = try driver.memory.slice(usedRing, UInt64(6 + 8 * count))
            try available.write([UInt8](repeating: 0, count: available.count))
            try used.write([UInt8](repeating: 0, count: used.count))
        } catch { throw .outOfMemory(16 * count) }
        free = (0..<size).reversed()
    }

    /// Descriptors not with the device.
    public var freeCount: Int { free.count }
    /// Chains with the device.
    public var outstandingCount: Int { outstanding.count }

    /// `count` bytes at `address` as segments of at most `limit`.
    public static func split(_ address: UInt64, _ count: Int, by limit: Int = .max, writable: Bool) -> [Segment] {
        stride(from: 0, to: count, by: min(limit, max(count, 1))).map {
            Segment(address + UInt64($0), min(limit, count - $0), writable: writable)
        }
    }

    // MARK: Offering chains

    /// Makes a chain available; the device may see it at once, ``kick()`` tells it.
    ///
    /// - Returns: the head, which names the chain when it comes back.
    @discardableResult
    public func add(_ segments: [Segment], _ layout: Layout = .direct) throws -> UInt16 {
        let needed = layout == .direct ? segments.count : 1
        guard needed > 0, free.count >= needed else { throw FakeDriverError.queueFull }
        let taken = (0..<needed).map { _ in free.removeLast() }
        let head = taken[0]
        switch layout {
        case .direct:
            for (position, segment) in segments.enumerated() {
                let next = position + 1 < segments.count ? taken[position + 1] : nil
                try writeDescriptor(taken[position], segment, next: next)
            }
        case .indirect:
            let table = try indirectTable(head, entries: segments.count)
            for (position, segment) in segments.enumerated() {
                let next = position + 1 < segments.count ? UInt16(position + 1) : nil
                try Self.write(segment, next: next, to: driver.memory.slice(table + UInt64(16 * position), 16))
            }
            try writeDescriptor(head, address: table, count: UInt32(16 * segments.count), flags: Flags.indirect, next: 0)
        }
        outstanding[head] = taken
        try offer(head)
        return head
    }

    /// Notifies the device unless it asked not to be: whether it was.
    @discardableResult
    public func kick() -> Bool {
        memoryFence()
        let old = kicked
        kicked = nextAvailable
        let wanted: Bool
        if eventIndex {
            let event = (try? used.load(UInt16.self, at: 4 + 8 * Int(size))) ?? 0
            wanted = nextAvailable &- event &- 1 < nextAvailable &- old
        } else {
            wanted = ((try? used.load(UInt16.self, at: 0)) ?? 0) & 1 == 0
        }
        if wanted { notify() }
        return wanted
    }

    /// Notifies the device, wanted or not.
    public func notify() {
        driver.write(.queueNotify, UInt32(index))
    }

    // MARK: Taking chains back

    /// The next chain the device is done with, if there is one.
    public func takeUsed() throws -> Used? {
        guard try used.loadAcquire(at: 2) != lastUsed else { return nil }
        let entry = 4 + 8 * Int(lastUsed % size)
        let head: UInt32 = try used.load(at: entry)
        guard let name = UInt16(exactly: head), let chain = outstanding.removeValue(forKey: name) else {
            throw FakeDriverError.unexpectedUsed(head)
        }
        lastUsed &+= 1
        free += chain.reversed()
        return Used(head: name, written: try used.load(at: entry + 4))
    }

    /// Sleeps until an interrupt announces a used chain.
    public func waitForUsed(milliseconds: Int = 10_000) throws -> Used {
        var result: Used?
        try driver.wait("used chain on queue \(index)", milliseconds: milliseconds) {
            result = try takeUsed()
            if result != nil { return true }
            try wantInterrupts()
            result = try takeUsed()
            return result != nil
        }
        guard let result else { throw FakeDriverError.timedOut("queue \(index)") }
        return result
    }

    /// Asks for an interrupt at the next used chain.
    public func wantInterrupts() throws {
        if eventIndex {
            try available.store(lastUsed, at: 4 + 2 * Int(size))
        } else {
            try available.store(UInt16(0), at: 0)
        }
        memoryFence()
    }

    /// Asks for no interrupts until ``wantInterrupts()``.
    public func refuseInterrupts() throws {
        if eventIndex {
            try available.store(lastUsed &- 1, at: 4 + 2 * Int(size))
        } else {
            try available.store(UInt16(1), at: 0)
        }
        memoryFence()
    }

    /// Asks for an interrupt only when the device's index passes `index` (EVENT_IDX).
    public func wantInterrupt(after index: UInt16) throws {
        try available.store(index, at: 4 + 2 * Int(size))
        memoryFence()
    }

    /// The device's used index.
    public func usedIndex() throws -> UInt16 { try used.loadAcquire(at: 2) }

    /// Whether the device asks not to be notified (without EVENT_IDX).
    public func deviceRefusesNotifications() throws -> Bool { try used.load(UInt16.self, at: 0) & 1 != 0 }

    // MARK: Breaking the rules

    /// Writes any descriptor.
    public func writeDescriptor(_ index: UInt16, address: UInt64, count: UInt32, flags: UInt16, next: UInt16) throws {
        try Self.write(address, count, flags, next, to: descriptors.slice(at: 16 * Int(index), count: 16))
    }

    /// Writes an entry of an indirect table anywhere in guest memory.
    public func writeDescriptor(at guestAddress: UInt64, address: UInt64, count: UInt32, flags: UInt16, next: UInt16) throws {
        try Self.write(address, count, flags, next, to: driver.memory.slice(guestAddress, 16))
    }

    /// Puts any number in the available ring and moves the index on by one.
    public func offer(_ head: UInt16) throws {
        try available.store(head, at: 4 + 2 * Int(nextAvailable % size))
        nextAvailable &+= 1
        try available.storeRelease(nextAvailable, at: 2)
    }

    /// Moves the available index anywhere.
    public func setAvailableIndex(_ index: UInt16) throws {
        nextAvailable = index
        try available.storeRelease(index, at: 2)
    }

    private func writeDescriptor(_ index: UInt16, _ segment: Segment, next: UInt16?) throws {
        try Self.write(segment, next: next, to: descriptors.slice(at: 16 * Int(index), count: 16))
    }

    private static func write(_ segment: Segment, next: UInt16?, to entry: GuestSlice) throws {
        let flags = (next == nil ? 0 : Flags.next) | (segment.writable ? Flags.write : 0)
        try write(segment.address, segment.count, flags, next ?? 0, to: entry)
    }

    private static func write(_ address: UInt64, _ count: UInt32, _ flags: UInt16, _ next: UInt16, to entry: GuestSlice) throws {
        try entry.store(address, at: 0)
        try entry.store(count, at: 8)
        try entry.store(flags, at: 12)
        try entry.store(next, at: 14)
    }

    private func indirectTable(_ head: UInt16, entries: Int) throws -> UInt64 {
        if let table = tables[head], table.entries >= entries { return table.address }
        let address = try driver.structures.allocate(16 * entries)
        tables[head] = (address, entries)
        return address
    }
}
