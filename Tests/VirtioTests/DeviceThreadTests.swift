import FakeDriver
import Glibc
import Linux
import Testing
import Virtio

@Suite("device threads")
struct DeviceThreadTests {
    @Test("requests are answered for every layout, split and ring feature", arguments: FakeQueue.Layout.allCases, [UInt64.max, ~Feature.ringEventIndex])
    func echo(layout: FakeQueue.Layout, features: UInt64) throws {
        let driver = try FakeDriver(EchoDevice())
        try driver.start(features: features)
        for split in [1, 7, 4096, .max] {
            let message = (0..<100).map { UInt8(truncatingIfNeeded: $0 &* split) }
            #expect(try driver.exchange(message, answer: 100, layout: layout, split: split) == message)
            #expect(try driver.exchange(message, answer: 3, layout: layout, split: split) == Array(message.prefix(3)))
        }
    }

    @Test("a long run on a short queue loses no interrupt", arguments: [UInt64.max, ~Feature.ringEventIndex])
    func longRun(features: UInt64) throws {
        let driver = try FakeDriver(EchoDevice())
        try driver.start(features: features, queueSize: 4)
        for round in 0..<5_000 {
            let byte = UInt8(truncatingIfNeeded: round)
            #expect(try driver.exchange([byte], answer: 1) == [byte])
        }
    }

    @Test("queues are served independently")
    func manyQueues() throws {
        let driver = try FakeDriver(EchoDevice(queueSizes: [16, 16, 16]))
        try driver.start()
        for index in [2, 0, 1, 1, 2] {
            #expect(try driver.exchange([UInt8(index)], answer: 1, queue: index) == [UInt8(index)])
        }
    }

    @Test("a broken ring stops the device, which says so; a reset brings it back")
    func brokenRing() throws {
        let driver = try FakeDriver(EchoDevice())
        try driver.start()
        try driver.queues[0].offer(9_999)
        driver.queues[0].kick()
        // The status may show before the interrupt comes.
        try driver.wait("NEEDS_RESET") { driver.needsReset && driver.configurationChanges == 1 }
        try driver.start()
        #expect(!driver.needsReset)
        #expect(try driver.exchange([5], answer: 1) == [5])
    }

    @Test("a thousand resets leave no thread, descriptor or handler behind")
    func resets() throws {
        let driver = try FakeDriver(EchoDevice())
        try driver.start()
        let limit = try openDescriptors() + 100
        for _ in 0..<1_000 {
            try driver.start()
            try driver.queues[0].add([FakeQueue.Segment(0x8000, 1, writable: true)])
            driver.queues[0].kick()
        }
        // Other tests run beside this one, so not exactly the number from before.
        #expect(try openDescriptors() < limit)
    }

    /// Descriptors of this process.
    private func openDescriptors() throws -> Int {
        guard let directory = opendir("/proc/self/fd") else { throw SystemError.current("open /proc/self/fd") }
        defer { closedir(directory) }
        var count = 0
        while readdir(directory) != nil { count += 1 }
        return count
    }
}
