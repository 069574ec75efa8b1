import FakeDriver
import GuestMemory
import Testing
import Virtio

@Suite("split queue: notifications and interrupts")
struct NotificationTests {
    private static let eventIndex = UInt64.max
    private static let flags = ~Feature.ringEventIndex
    private let device = ManualDevice()
    private let driver: FakeDriver
    private var chain = DescriptorChain()

    init() throws {
        driver = try FakeDriver(device, memorySize: 1 << 20)
    }

    private func start(_ features: UInt64) throws -> (rings: FakeQueue, queue: Queue) {
        try driver.start(features: features, queueSize: 16)
        return (driver.queues[0], try device.queue())
    }

    private func add(_ rings: FakeQueue) throws {
        try rings.add([FakeQueue.Segment(0x8000, 8, writable: true)])
    }

    private mutating func answer(_ queue: Queue) throws {
        #expect(try queue.pop(into: &chain))
        try queue.push(chain.head, written: 0)
    }

    @Test("one interrupt tells of a batch, and none of nothing", arguments: [eventIndex, flags])
    mutating func batch(features: UInt64) throws {
        let (rings, queue) = try start(features)
        try rings.wantInterrupts()
        for _ in 0..<5 { try add(rings) }
        for _ in 0..<5 { try answer(queue) }
        try queue.signalIfNeeded()
        try queue.signalIfNeeded()
        #expect(driver.transport.interrupt.count == 1)
        #expect(driver.waitForInterrupt(milliseconds: 0))
        #expect(!driver.waitForInterrupt(milliseconds: 0))
    }

    @Test("a driver that refuses interrupts gets none", arguments: [eventIndex, flags])
    mutating func refused(features: UInt64) throws {
        let (rings, queue) = try start(features)
        try rings.refuseInterrupts()
        for _ in 0..<40 {
            try add(rings)
            try answer(queue)
            try queue.signalIfNeeded()
            _ = try rings.takeUsed()
        }
        #expect(driver.transport.interrupt.count == 0)
        try rings.wantInterrupts()
        try add(rings)
        try answer(queue)
        try queue.signalIfNeeded()
        #expect(driver.transport.interrupt.count == 1)
    }

    @Test("with EVENT_IDX the interrupt comes when the driver's index is passed, also across the wrap")
    mutating func usedEvent() throws {
        let (rings, queue) = try start(Self.eventIndex)
        var wrong = 0
        // 65,536 is no multiple of 7: the wrap falls inside a group.
        for round in 0..<9_400 {
            try rings.wantInterrupt(after: rings.lastUsed &+ 4)
            for position in 0..<7 {
                try add(rings)
                guard try queue.pop(into: &chain) else { break }
                try queue.push(chain.head, written: 0)
                try queue.signalIfNeeded()
                if driver.transport.interrupt.count != UInt64(round + (position >= 4 ? 1 : 0)) { wrong += 1 }
                _ = try rings.takeUsed()
            }
        }
        #expect(wrong == 0)
        #expect(driver.transport.interrupt.count == 9_400)
    }

    @Test("takeSignal leaves the interrupt to the caller")
    mutating func takeSignal() throws {
        let (rings, queue) = try start(Self.eventIndex)
        try add(rings)
        try answer(queue)
        #expect(try queue.takeSignal())
        #expect(try !queue.takeSignal())
        #expect(driver.transport.interrupt.count == 0)
    }

    @Test("a driver notifies when the device asked for it and not while it looks anyway", arguments: [eventIndex, flags])
    mutating func driverNotifications(features: UInt64) throws {
        let (rings, queue) = try start(features)
        try queue.disableNotifications()
        #expect(try !queue.enableNotifications())
        try add(rings)
        #expect(rings.kick())
        try queue.disableNotifications()
        try add(rings)
        #expect(!rings.kick())
        try answer(queue)
        try answer(queue)
        #expect(try !queue.enableNotifications())
        try add(rings)
        #expect(rings.kick())
    }

    @Test("a request that came in before the wish was visible is reported", arguments: [eventIndex, flags])
    mutating func race(features: UInt64) throws {
        let (rings, queue) = try start(features)
        try queue.disableNotifications()
        try add(rings)
        #expect(try queue.enableNotifications())
        try answer(queue)
        #expect(try !queue.enableNotifications())
    }

    @Test("at most 256 requests are handled at once; the rest come with the next wake-up")
    mutating func batchLimit() throws {
        // One descriptor answers for many chains here: the ring names it again and again.
        let (rings, queue) = try start(Self.flags)
        try rings.writeDescriptor(0, address: 0x8000, count: 8, flags: FakeQueue.Flags.write, next: 0)
        for _ in 0..<16 { try rings.offer(0) }
        var handled = 0
        let refill = rings
        try queue.processAll(&chain) { _ in
            handled += 1
            try? refill.offer(0)
            return 0
        }
        #expect(handled == 256)
        #expect(queue.notification.drain() == 1)
    }

    @Test("processing with nothing to do leaves notifications on and the driver alone", arguments: [eventIndex, flags])
    mutating func idle(features: UInt64) throws {
        let (rings, queue) = try start(features)
        try queue.processAll(&chain) { _ in 0 }
        #expect(driver.transport.interrupt.count == 0)
        #expect(queue.notification.drain() == 0)
        try add(rings)
        #expect(rings.kick())
    }
}
