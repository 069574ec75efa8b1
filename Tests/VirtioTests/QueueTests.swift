import FakeDriver
import GuestMemory
import Testing
import Virtio

@Suite("split queue: chains")
struct QueueTests {
    private typealias Segment = FakeQueue.Segment
    private typealias Flags = FakeQueue.Flags
    private static let buffers: UInt64 = 0x10000
    private static let memorySize = 1 << 20

    private let device = ManualDevice()
    private let driver: FakeDriver
    private let rings: FakeQueue
    private let queue: Queue
    private var chain = DescriptorChain()

    init() throws {
        (driver, rings, queue) = try Self.start(device)
    }

    private static func start(
        _ device: ManualDevice, size: UInt16 = 16, features: UInt64 = .max
    ) throws -> (FakeDriver, FakeQueue, Queue) {
        let driver = try FakeDriver(device, memorySize: memorySize)
        try driver.start(features: features, queueSize: size)
        return (driver, driver.queues[0], try device.queue())
    }

    /// Offers the descriptor at index 0 as a chain of its own.
    private func offer(_ address: UInt64, _ count: UInt32, _ flags: UInt16 = 0, next: UInt16 = 0) throws {
        try rings.writeDescriptor(0, address: address, count: count, flags: flags, next: next)
        try rings.offer(0)
    }

    @Test("chains of any split and layout arrive whole", arguments: FakeQueue.Layout.allCases, [1, 3, 64, 1000])
    mutating func splits(layout: FakeQueue.Layout, split: Int) throws {
        let message = (0..<200).map { UInt8(truncatingIfNeeded: $0) }
        let (driver, rings, queue) = try Self.start(device, size: 256)
        let source = try driver.place(message)
        let target = try driver.arena.allocate(48)
        let segments = FakeQueue.split(source, 200, by: split, writable: false) + FakeQueue.split(target, 48, by: split, writable: true)
        let head = try rings.add(segments, layout)
        #expect(try queue.pop(into: &chain))
        #expect(chain.head == head)
        #expect(chain.readable.remaining == 200)
        #expect(chain.writable.remaining == 48)
        #expect(try chain.readable.readBytes(200) == message)
        try chain.writable.write(message.prefix(48))
        try queue.push(chain.head, written: 48)
        #expect(try rings.takeUsed() == FakeQueue.Used(head: head, written: 48))
        #expect(try driver.bytes(target, count: 48) == Array(message.prefix(48)))
        #expect(try !queue.pop(into: &chain))
    }

    @Test("a chain put back comes again, and those before it do not")
    mutating func putBack() throws {
        for _ in 0..<3 { try rings.add([Segment(Self.buffers, 8, writable: true)]) }
        var heads: [UInt16] = []
        while try queue.pop(into: &chain) { heads.append(chain.head) }
        try queue.push(heads[0], written: 0)
        queue.putBack(2)
        for head in heads.dropFirst() {
            #expect(try queue.pop(into: &chain))
            #expect(chain.head == head)
        }
        #expect(try !queue.pop(into: &chain))
    }

    @Test("indices wrap at 65,536")
    mutating func wrap() throws {
        var wrong = 0
        for _ in 0..<70_000 {
            let head = try rings.add([Segment(Self.buffers, 8, writable: true)])
            if try !queue.pop(into: &chain) || chain.head != head { wrong += 1 }
            try queue.push(chain.head, written: 1)
            if try rings.takeUsed()?.head != head { wrong += 1 }
        }
        #expect(wrong == 0)
        #expect(queue.nextAvailable == 70_000 - 65_536)
        #expect(queue.nextUsed == 70_000 - 65_536)
    }

    @Test("a full ring is taken whole")
    mutating func full() throws {
        for _ in 0..<16 { try rings.add([Segment(Self.buffers, 8, writable: true)]) }
        var count = 0
        while try queue.pop(into: &chain) { count += 1 }
        #expect(count == 16)
    }

    @Test("an available index that jumps past the ring or backwards is refused", arguments: [17, 100, 0x8000, 0xffff] as [UInt16])
    mutating func indexJump(to index: UInt16) throws {
        try rings.setAvailableIndex(index)
        #expect(throws: QueueError.indexJumped(from: 0, to: index)) { try queue.pop(into: &chain) }
    }

    @Test("a head beyond the queue is refused", arguments: [16, 255, 0xffff] as [UInt16])
    mutating func badHead(head: UInt16) throws {
        try rings.offer(head)
        #expect(throws: QueueError.headOutOfRange(head)) { try queue.pop(into: &chain) }
    }

    @Test("a next descriptor beyond the table is refused", arguments: [16, 255, 0xffff] as [UInt16])
    mutating func badNext(next: UInt16) throws {
        try offer(Self.buffers, 8, Flags.next, next: next)
        #expect(throws: QueueError.nextOutOfRange(next)) { try queue.pop(into: &chain) }
    }

    @Test("a chain that loops is refused", arguments: [1, 2, 16] as [UInt16])
    mutating func loop(length: UInt16) throws {
        for index in 0..<length {
            try rings.writeDescriptor(index, address: Self.buffers, count: 8, flags: Flags.next, next: (index + 1) % length)
        }
        try rings.offer(0)
        #expect(throws: QueueError.chainTooLong) { try queue.pop(into: &chain) }
    }

    @Test("the longest legal chain uses every descriptor")
    mutating func longest() throws {
        try rings.add((0..<16).map { Segment(Self.buffers + 8 * $0, 8, writable: false) })
        #expect(try queue.pop(into: &chain))
        #expect(chain.readable.remaining == 128)
    }

    @Test("a readable descriptor after a writable one is refused", arguments: FakeQueue.Layout.allCases)
    mutating func order(layout: FakeQueue.Layout) throws {
        try rings.add([Segment(Self.buffers, 8, writable: true), Segment(Self.buffers, 8, writable: false)], layout)
        #expect(throws: QueueError.readableAfterWritable) { try queue.pop(into: &chain) }
    }

    @Test("a zero-length writable descriptor still ends the readable part")
    mutating func emptyWritable() throws {
        try rings.add([Segment(Self.buffers, 0, writable: true), Segment(Self.buffers, 8, writable: false)])
        #expect(throws: QueueError.readableAfterWritable) { try queue.pop(into: &chain) }
    }

    @Test("zero-length descriptors anywhere in a chain do no harm")
    mutating func zeroLength() throws {
        let source = try driver.place([1, 2, 3, 4])
        try rings.add([
            Segment(source, 0, writable: false), Segment(source, 2, writable: false), Segment(source, 0, writable: false),
            Segment(source + 2, 2, writable: false), Segment(source, 0, writable: false),
            Segment(Self.buffers, 0, writable: true), Segment(Self.buffers, 4, writable: true), Segment(Self.buffers, 0, writable: true),
        ])
        #expect(try queue.pop(into: &chain))
        #expect(chain.readable.remaining == 4)
        #expect(try chain.readable.read(UInt32.self) == 0x0403_0201)
        try chain.writable.write(UInt32(0x0807_0605))
        #expect(try driver.bytes(Self.buffers, count: 4) == [5, 6, 7, 8])
        #expect(throws: GuestMemoryError.self) { try chain.writable.write(UInt8(0)) }
        #expect(throws: GuestMemoryError.self) { try chain.readable.read(UInt8.self) }
    }

    @Test("a chain of nothing but empty descriptors is an empty request")
    mutating func allEmpty() throws {
        try rings.add([Segment(Self.buffers, 0, writable: false), Segment(Self.buffers, 0, writable: true)])
        #expect(try queue.pop(into: &chain))
        #expect(chain.readable.remaining == 0)
        #expect(chain.writable.remaining == 0)
        #expect(try chain.readable.readBytes(0) == [])
    }

    @Test(
        "buffers outside guest memory, across its end or hole, or wrapping round the address space are refused",
        arguments: [
            (0x10_0000, 1), (0xf_ffff, 2), (0, 0x10_0001), (0x8000_0000, 4096), (0xffff_f000, 0x2000), (0x1_0080_0000, 1),
            (.max, 1), (.max, .max), (0xffff_ffff_ffff_f000, 0x2000), (0, .max),
        ] as [(UInt64, UInt32)])
    mutating func badAddress(address: UInt64, count: UInt32) throws {
        for flags in [0, Flags.write] {
            let device = ManualDevice()
            let (driver, rings, queue) = try Self.start(device)
            try rings.writeDescriptor(0, address: address, count: count, flags: flags, next: 0)
            try rings.offer(0)
            #expect(throws: QueueError.memory(.outOfRange(address: address, count: UInt64(count)))) { try queue.pop(into: &chain) }
            withExtendedLifetime(driver) {}
        }
    }

    @Test("the last byte of guest memory can be used")
    mutating func lastByte() throws {
        try offer(UInt64(Self.memorySize) - 1, 1, Flags.write)
        #expect(try queue.pop(into: &chain))
        try chain.writable.write(UInt8(9))
    }

    @Test("a chain that names the same memory again and again cannot grow past what a used entry can say")
    mutating func tooLarge() throws {
        let (driver, rings, queue) = try Self.start(device, size: 256)
        let segments = (0..<1024).map { _ in Segment(FakeDriver.highMemory, FakeDriver.highMemorySize, writable: false) }
        try rings.add(segments, .indirect)
        #expect(throws: QueueError.chainTooLarge) { try queue.pop(into: &chain) }
        withExtendedLifetime(driver) {}
    }

    // MARK: Indirect tables

    @Test("an indirect table may follow direct descriptors, and be longer than the queue")
    mutating func indirectAfterDirect() throws {
        let table = try driver.arena.allocate(16 * 100)
        for index in 0..<100 as Range<UInt16> {
            try rings.writeDescriptor(
                at: table + 16 * UInt64(index), address: Self.buffers, count: 1, flags: index == 99 ? Flags.write : Flags.next, next: index + 1)
        }
        try rings.writeDescriptor(1, address: table, count: 1600, flags: Flags.indirect, next: 0)
        try offer(Self.buffers, 8, Flags.next, next: 1)
        #expect(try queue.pop(into: &chain))
        #expect(chain.readable.remaining == 8 + 99)
        #expect(chain.writable.remaining == 1)
    }

    @Test("the WRITE flag on a reference to an indirect table means nothing")
    mutating func indirectWritable() throws {
        let table = try driver.arena.allocate(16)
        try rings.writeDescriptor(at: table, address: Self.buffers, count: 8, flags: 0, next: 0)
        try offer(table, 16, Flags.indirect | Flags.write)
        #expect(try queue.pop(into: &chain))
        #expect(chain.readable.remaining == 8)
    }

    @Test("an indirect table of length zero, no multiple of 16, or with NEXT beside it is refused", arguments: [(0, 0), (15, 0), (17, 0), (16, 1)] as [(UInt32, UInt16)])
    mutating func badTable(count: UInt32, flags: UInt16) throws {
        try offer(Self.buffers, count, Flags.indirect | flags)
        #expect(throws: QueueError.badIndirectTable) { try queue.pop(into: &chain) }
    }

    @Test("an indirect table inside an indirect table is refused")
    mutating func nestedTable() throws {
        try rings.writeDescriptor(at: Self.buffers, address: Self.buffers, count: 16, flags: Flags.indirect, next: 0)
        try offer(Self.buffers, 16, Flags.indirect)
        #expect(throws: QueueError.badIndirectTable) { try queue.pop(into: &chain) }
    }

    @Test("an indirect table outside guest memory is refused", arguments: [0x10_0000, 0xf_fff8, .max] as [UInt64])
    mutating func tableOutside(address: UInt64) throws {
        try offer(address, 16, Flags.indirect)
        #expect(throws: QueueError.memory(.outOfRange(address: address, count: 16))) { try queue.pop(into: &chain) }
    }

    @Test("a loop in an indirect table, or a next beyond it, is refused")
    mutating func badIndirectNext() throws {
        try rings.writeDescriptor(at: Self.buffers, address: Self.buffers, count: 8, flags: Flags.next, next: 0)
        try rings.writeDescriptor(at: Self.buffers + 16, address: Self.buffers, count: 8, flags: Flags.next, next: 2)
        try offer(Self.buffers, 32, Flags.indirect)
        #expect(throws: QueueError.chainTooLong) { try queue.pop(into: &chain) }
        try rings.writeDescriptor(at: Self.buffers, address: Self.buffers, count: 8, flags: Flags.next, next: 2)
        #expect(throws: QueueError.nextOutOfRange(2)) { try queue.pop(into: &chain) }
    }

    @Test("a table of 4 GiB is not walked to its end")
    mutating func hugeTable() throws {
        let table = FakeDriver.highMemory + 4 << 20
        for index in 0..<1024 as Range<UInt16> {
            try rings.writeDescriptor(at: table + 16 * UInt64(index), address: 0, count: 0, flags: Flags.next, next: index + 1)
        }
        try offer(table, 4 << 20, Flags.indirect)
        #expect(throws: QueueError.self) { try queue.pop(into: &chain) }
    }

    @Test("an indirect table without the feature is refused")
    mutating func indirectNotNegotiated() throws {
        let (driver, rings, queue) = try Self.start(device, features: ~Feature.ringIndirectDescriptors)
        try rings.add([Segment(Self.buffers, 8, writable: true)], .indirect)
        #expect(throws: QueueError.indirectNotNegotiated) { try queue.pop(into: &chain) }
        withExtendedLifetime(driver) {}
    }
}
