import FakeDriver
import Glibc
import Linux
import Testing
import Virtio

@Suite("console device")
struct ConsoleTests {
    /// Sends `text` through transmitq and waits until it is taken.
    private func print(_ text: String, _ driver: FakeDriver, layout: FakeQueue.Layout = .direct, split: Int = .max) throws {
        #expect(try driver.exchange(Array(text.utf8), answer: 0, queue: 1, layout: layout, split: split).isEmpty)
    }

    private func contents(_ file: Descriptor) throws -> String {
        String(decoding: try file.read(upTo: 1 << 20, at: 0), as: UTF8.self)
    }

    @Test("what the guest prints is in the file in order", arguments: FakeQueue.Layout.allCases)
    func order(layout: FakeQueue.Layout) throws {
        let file = try makeMemoryFile("console", count: 0)
        let device = try ConsoleDevice(output: file, byteBudget: 1 << 20)
        let driver = try FakeDriver(device)
        try driver.start()
        #expect(driver.read(.deviceID) == 3)
        for line in 0..<100 { try print("line \(line)\n", driver, layout: layout, split: 3) }
        #expect(try contents(file) == (0..<100).map { "line \($0)\n" }.joined())
        #expect(device.metrics.bytes.value == 790)
    }

    @Test("input buffers are kept and never filled")
    func input() throws {
        let driver = try FakeDriver(try ConsoleDevice(output: makeMemoryFile("console", count: 0), byteBudget: 4096))
        try driver.start()
        try driver.queues[0].add([FakeQueue.Segment(0x8000, 64, writable: true)])
        driver.queues[0].kick()
        try print("x", driver)
        #expect(try driver.queues[0].takeUsed() == nil)
    }

    @Test("a buffer longer than a request may be is cut")
    func cut() throws {
        let file = try makeMemoryFile("console", count: 0)
        let device = try ConsoleDevice(output: file, byteBudget: 1 << 20)
        let driver = try FakeDriver(device)
        try driver.start()
        try print(String(repeating: "a", count: 100_000), driver)
        #expect(try contents(file).utf8.count == 65536)
        #expect(device.metrics.cut.value == 100_000 - 65536)
    }
}

@Suite("console log")
struct ConsoleLogTests {
    private let file: Descriptor

    init() throws {
        file = try makeMemoryFile("console", count: 0)
    }

    private func contents() throws -> String {
        String(decoding: try file.read(upTo: 1 << 20, at: 0), as: UTF8.self)
    }

    @Test("a file never exceeds the budget and keeps its beginning and its end, whatever the pieces", arguments: [1, 100, 5_000, 70_000])
    func budget(piece: Int) throws {
        let log = try ConsoleLog(output: file, byteBudget: 10_000)
        let text = (0..<12_000).map { "line \($0)\n" }.joined()
        let bytes = Array(text.utf8)
        for start in stride(from: 0, to: bytes.count, by: piece) {
            log.append(Array(bytes[start..<min(start + piece, bytes.count)]))
            #expect(try file.status().st_size <= 10_000)
        }
        let kept = try contents()
        #expect(kept.hasPrefix(String(text.prefix(5_000)) + "\n["))
        let parts = kept.split(separator: " bytes left out]\n", maxSplits: 1)
        #expect(parts.count == 2)
        #expect(parts[1].utf8.count >= 2_500)
        #expect(text.hasSuffix(parts[1]))
        let missing = Int(parts[0].split(separator: "[").last ?? "")
        #expect(missing == bytes.count - 5_000 - parts[1].utf8.count)
    }

    @Test("what the file held before stays and does not count")
    func appends() throws {
        try file.writeAll("before\n")
        let log = try ConsoleLog(output: file, byteBudget: 4096)
        for _ in 0..<10_000 { log.append(Array("0123456789".utf8)) }
        #expect(try file.status().st_size <= 4096 + 7)
        #expect(try contents().hasPrefix("before\n0123"))
    }

    @Test("a pipe nobody reads drops what it cannot hold and never waits")
    func slowReader() throws {
        let (reading, writing) = try Descriptor.pipe()
        let log = try ConsoleLog(output: writing, byteBudget: 4096)
        let sent = 300_000
        for _ in 0..<sent / 1000 { log.append([UInt8](repeating: 7, count: 1000)) }
        #expect(log.droppedBytes > 0)
        try reading.setNonBlocking()
        #expect(try reading.read(upTo: 1 << 20).count == sent - Int(log.droppedBytes))
    }

    @Test("a pipe whose reader is gone drops everything")
    func goneReader() throws {
        ignoreBrokenPipes()
        let (reading, writing) = try Descriptor.pipe()
        let log = try ConsoleLog(output: writing, byteBudget: 4096)
        _ = consume reading
        log.append([1, 2, 3])
        #expect(log.droppedBytes == 3)
    }
}
