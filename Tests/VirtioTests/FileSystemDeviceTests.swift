import FakeDriver
import FUSE
import Glibc
import Linux
import Testing
import Virtio

@Suite("file system device")
struct FileSystemDeviceTests {
    private let path: String
    private let shares = ShareTable()
    private let device: FileSystemDevice
    private let driver: FakeDriver

    init() throws {
        var template = Array("/tmp/microvm-fs-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.current("mkdtemp") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        // The share holds on to the directory; it needs no name, so nothing is left behind.
        try shares.add("s", root: Descriptor.open(path, O_RDONLY | O_DIRECTORY), readOnly: false)
        device = FileSystemDevice(tag: "microvm", server: try FileServer(shares: shares))
        driver = try FakeDriver(device)
        try driver.start()
    }

    private func bytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
        (0..<MemoryLayout<Value>.size).map { UInt8(truncatingIfNeeded: value >> Value(8 * $0)) }
    }

    private func message(_ opcode: Opcode, _ node: UInt64, _ body: [UInt8]) -> [UInt8] {
        let header: [[UInt8]] = [bytes(UInt32(40 + body.count)), bytes(opcode.rawValue), bytes(UInt64(opcode.rawValue)), bytes(node)]
        return header.flatMap { $0 } + [UInt8](repeating: 0, count: 16) + body
    }

    private func call(
        _ opcode: Opcode, _ node: UInt64 = 1, _ body: [UInt8] = [], answer: Int = 300, layout: FakeQueue.Layout = .indirect, split: Int = .max
    ) throws -> [UInt8] {
        let answer = try driver.exchange(message(opcode, node, body), answer: answer, queue: 1, layout: layout, split: split)
        guard answer.count >= 16, answer[4..<8].allSatisfy({ $0 == 0 }) else { throw SystemError("refused: \(answer)", .ioError) }
        return Array(answer.dropFirst(16))
    }

    private func initialize() throws {
        _ = try call(.initialize, 0, bytes(UInt32(7)) + bytes(UInt32(39)) + bytes(UInt32(0)) + bytes(UInt32(0)))
    }

    private func number(_ bytes: some Collection<UInt8>) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }

    private func create(_ name: String) throws -> (node: UInt64, handle: UInt64) {
        defer {
            unlink(path + "/" + name)
            rmdir(path)
        }
        try initialize()
        let top = number(try call(.lookup, 1, Array("s".utf8) + [0]).prefix(8))
        let body = bytes(O_RDWR) + bytes(UInt32(0o644)) + [UInt8](repeating: 0, count: 8) + Array(name.utf8) + [0]
        let answer = try call(.create, top, body)
        return (number(answer.prefix(8)), number(answer[128..<136]))
    }

    @Test("the configuration space holds the tag and one request queue")
    func configuration() throws {
        defer { rmdir(path) }
        let tag = (0..<36).map { UInt8(truncatingIfNeeded: driver.readConfiguration($0, count: 1)) }
        #expect(tag == Array("microvm".utf8) + [UInt8](repeating: 0, count: 29))
        #expect(driver.readConfiguration(36, count: 4) == 1)
        #expect(driver.read(.deviceID) == 26)
        #expect(driver.queues.count == 2)
    }

    @Test("a megabyte is written and read through any split of the chain", arguments: FakeQueue.Layout.allCases, [4096, 70_000, .max])
    func transfer(layout: FakeQueue.Layout, split: Int) throws {
        // 256 descriptors do not hold a megabyte of pages directly.
        let count = layout == .direct && split == 4096 ? 400_000 : 1 << 20
        let file = try create("f")
        let data = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        let write = bytes(file.handle) + bytes(UInt64(0)) + bytes(UInt32(count)) + [UInt8](repeating: 0, count: 20) + data
        #expect(number(try call(.write, file.node, write, answer: 24, layout: layout, split: split).prefix(4)) == count)
        let read = bytes(file.handle) + bytes(UInt64(0)) + bytes(UInt32(count)) + [UInt8](repeating: 0, count: 20)
        #expect(try call(.read, file.node, read, answer: 16 + count, layout: layout, split: split) == data)
    }

    @Test("requests that wait for a disk are served aside and come back")
    func slowRequests() throws {
        let file = try create("f")
        for _ in 0..<20 {
            let sync = bytes(file.handle) + bytes(UInt64(0))
            #expect(try call(.synchronize, file.node, sync).isEmpty)
        }
        #expect(device.metrics.slowRequests.value == 20)
        #expect(device.metrics.requests.value == 23)
    }

    @Test("many requests at once all come back, slow ones among them")
    func manyAtOnce() throws {
        let file = try create("f")
        let requests: [[UInt8]] = [
            message(.synchronize, file.node, bytes(file.handle) + bytes(UInt64(0))),
            message(.getAttributes, file.node, bytes(UInt64(0)) + bytes(UInt64(0))),
        ]
        let queue = driver.queues[1]
        var outstanding: Set<UInt16> = []
        for index in 0..<100 {
            let request = requests[index % 2]
            let segments = [
                FakeQueue.Segment(try driver.place(request), request.count, writable: false),
                FakeQueue.Segment(try driver.arena.allocate(120), 120, writable: true),
            ]
            outstanding.insert(try queue.add(segments))
            queue.kick()
        }
        while !outstanding.isEmpty { #expect(outstanding.remove(try queue.waitForUsed().head) != nil) }
    }

    @Test("FORGET on the high-priority queue is taken without an answer")
    func forget() throws {
        let file = try create("f")
        #expect(try driver.exchange(message(.forget, file.node, bytes(UInt64(1))), answer: 0, queue: 0).isEmpty)
        #expect(throws: SystemError.self) { _ = try call(.getAttributes, file.node, bytes(UInt64(0)) + bytes(UInt64(0))) }
    }

    @Test("chains without a request, or without room, come back empty")
    func brokenRequests() throws {
        defer { rmdir(path) }
        #expect(try driver.exchange([], answer: 100, queue: 1).isEmpty)
        #expect(try driver.exchange([1, 2, 3], answer: 100, queue: 1).isEmpty)
        #expect(try driver.exchange(message(.initialize, 0, []), answer: 10, queue: 1).isEmpty)
        #expect(try driver.exchange(message(.initialize, 0, []), answer: 16, queue: 1).count == 16)
    }

    @Test("a reset lets go of what the guest held, with requests under way, again and again")
    func resets() throws {
        let file = try create("f")
        let sync = message(.synchronize, file.node, bytes(file.handle) + bytes(UInt64(0)))
        for _ in 0..<100 {
            for _ in 0..<5 {
                let source = try driver.place(sync)
                try driver.queues[1].add([FakeQueue.Segment(source, sync.count, writable: false)])
                driver.queues[1].kick()
            }
            try driver.start()
            try initialize()
        }
        #expect(throws: SystemError.self) { _ = try call(.getAttributes, file.node, bytes(UInt64(0)) + bytes(UInt64(0))) }
        #expect(number(try call(.lookup, 1, Array("s".utf8) + [0]).prefix(8)) == 1 << 44 | 1)
    }
}
