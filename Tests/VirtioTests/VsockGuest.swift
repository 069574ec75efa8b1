import FakeDriver
import Glibc
import Linux
import Virtio

/// A guest's socket driver: packets by hand, checked against virtio 1.2, 5.10.6, on real Unix sockets.
final class VsockGuest {
    enum Operation {
        static let request: UInt16 = 1
        static let response: UInt16 = 2
        static let reset: UInt16 = 3
        static let shutdown: UInt16 = 4
        static let readWrite: UInt16 = 5
        static let creditUpdate: UInt16 = 6
        static let creditRequest: UInt16 = 7
    }

    struct Packet: Equatable {
        var sourceCID: UInt64 = 3
        var destinationCID: UInt64 = 2
        var guestPort: UInt32
        var hostPort: UInt32
        var length: UInt32 = 0
        var type: UInt16 = 1
        var operation: UInt16
        var flags: UInt32 = 0
        var window: UInt32 = 256 << 10
        var forwarded: UInt32 = 0
        var payload: [UInt8] = []

        init(_ operation: UInt16, _ guestPort: UInt32, _ hostPort: UInt32, payload: [UInt8] = [], flags: UInt32 = 0) {
            self.operation = operation
            self.guestPort = guestPort
            self.hostPort = hostPort
            self.payload = payload
            self.flags = flags
            length = UInt32(payload.count)
        }

        /// As sent by the guest.
        var bytes: [UInt8] {
            var bytes = little(sourceCID) + little(destinationCID) + little(guestPort) + little(hostPort)
            bytes += little(length) + little(type) + little(operation) + little(flags) + little(window) + little(forwarded)
            return bytes + payload
        }

        /// As received by the guest.
        init(_ bytes: [UInt8]) {
            sourceCID = number(bytes[0..<8])
            destinationCID = number(bytes[8..<16])
            hostPort = number(bytes[16..<20])
            guestPort = number(bytes[20..<24])
            length = number(bytes[24..<28])
            type = number(bytes[28..<30])
            operation = number(bytes[30..<32])
            flags = number(bytes[32..<36])
            window = number(bytes[36..<40])
            forwarded = number(bytes[40..<44])
            payload = Array(bytes[44...])
        }
    }

    let device: VsockDevice
    let driver: FakeDriver
    let directory: String
    var path: String { directory + "/vsock.sock" }
    private let bufferSize: Int
    /// Where each buffer with the device lies, by its chain's head.
    private var buffers: [UInt16: UInt64] = [:]
    private var sendAddress: UInt64
    /// Whether received buffers go back to the device at once.
    var refills = true

    /// - Parameters:
    ///   - buffers: receive buffers offered.
    ///   - bufferSize: of each, header included. Linux: 3,776.
    init(buffers count: Int = 64, bufferSize: Int = 3776, limits: VsockLimits = VsockLimits(), restored: Bool = false, features: UInt64 = .max) throws {
        ignoreBrokenPipes()
        directory = try makeTemporaryDirectory()
        let listener = try Descriptor.listening(at: .unix(directory + "/vsock.sock"))
        device = VsockDevice(guestCID: 3, listener: listener, path: directory + "/vsock.sock", limits: limits, restored: restored)
        driver = try FakeDriver(device)
        self.bufferSize = bufferSize
        sendAddress = try driver.arena.allocate(128 << 10)
        try driver.start(features: features)
        try offer(count)
    }

    deinit {
        driver.transport.shutdown()
        removeTemporaryDirectory(directory)
    }

    var receiveQueue: FakeQueue { driver.queues[0] }
    var transmitQueue: FakeQueue { driver.queues[1] }
    var eventQueue: FakeQueue { driver.queues[2] }

    /// Gives the device `count` more receive buffers.
    func offer(_ count: Int) throws {
        for _ in 0..<count { try offer(at: driver.arena.allocate(bufferSize)) }
        receiveQueue.kick()
    }

    private func offer(at address: UInt64) throws {
        // Split as no Linux driver does: the header straddles two segments.
        let head = try receiveQueue.add(FakeQueue.split(address, 40, writable: true) + FakeQueue.split(address + 40, bufferSize - 40, writable: true))
        buffers[head] = address
    }

    // MARK: Packets

    func send(_ packet: Packet, split: Int = .max) throws { try send(packet.bytes, split: split) }

    func send(_ bytes: [UInt8], split: Int = .max) throws {
        try driver.memory.slice(sendAddress, UInt64(bytes.count)).write(bytes)
        try transmitQueue.add(FakeQueue.split(sendAddress, bytes.count, by: split, writable: false))
        transmitQueue.kick()
        _ = try transmitQueue.waitForUsed()
    }

    /// The next packet there is.
    func poll() throws -> Packet? {
        guard let used = try receiveQueue.takeUsed() else { return nil }
        guard let address = buffers.removeValue(forKey: used.head) else { throw FakeDriverError.unexpectedUsed(UInt32(used.head)) }
        let packet = Packet(try driver.bytes(address, count: Int(used.written)))
        if refills {
            try offer(at: address)
            receiveQueue.kick()
        }
        return packet
    }

    /// The next packet, waiting for an interrupt if need be.
    func next(milliseconds: Int = 10_000) throws -> Packet {
        var packet: Packet?
        try driver.wait("a packet", milliseconds: milliseconds) {
            packet = try poll()
            if packet != nil { return true }
            try receiveQueue.wantInterrupts()
            packet = try poll()
            return packet != nil
        }
        guard let packet else { throw FakeDriverError.timedOut("a packet") }
        return packet
    }

    /// Whether the device sends nothing for a while.
    func isSilent(milliseconds: Int = 50) throws -> Bool {
        do {
            _ = try next(milliseconds: milliseconds)
            return false
        } catch FakeDriverError.timedOut { return true }
    }

    // MARK: Connections

    /// A host process connects to guest port `port`; the guest accepts.
    func connectFromHost(port: UInt32 = 1024, window: UInt32 = 256 << 10) throws -> (socket: Descriptor, hostPort: UInt32) {
        let socket = try Descriptor.connected(to: .unix(path))
        try socket.writeAll("CONNECT \(port)\n")
        let request = try next()
        guard request.operation == Operation.request, request.guestPort == port else { throw FakeDriverError.timedOut("REQUEST, not \(request)") }
        var response = Packet(Operation.response, port, request.hostPort)
        response.window = window
        try send(response)
        let answer = try socket.readLine()
        guard answer == "OK \(request.hostPort)" else { throw FakeDriverError.timedOut("OK, not \(answer)") }
        return (socket, request.hostPort)
    }

    /// The guest connects to host port `hostPort`, where `listener` waits.
    func connectFromGuest(port: UInt32 = 5000, hostPort: UInt32, listener: Descriptor, window: UInt32 = 256 << 10) throws -> Descriptor {
        var request = Packet(Operation.request, port, hostPort)
        request.window = window
        try send(request)
        let response = try next()
        guard response.operation == Operation.response else { throw FakeDriverError.timedOut("RESPONSE, not \(response)") }
        return try listener.accept()
    }

    func listen(_ hostPort: UInt32, backlog: Int32 = 128) throws -> Descriptor {
        try .listening(at: .unix("\(path)_\(hostPort)"), backlog: backlog)
    }
}

private func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    (0..<MemoryLayout<T>.size).map { UInt8(truncatingIfNeeded: value >> T(8 * $0)) }
}

private func number<T: FixedWidthInteger>(_ bytes: ArraySlice<UInt8>) -> T {
    bytes.reversed().reduce(0) { $0 << 8 | T($1) }
}

extension Descriptor {
    /// Reads up to a line feed, a byte at a time; what there is at the end of the stream.
    func readLine() throws -> String {
        var line: [UInt8] = []
        while true {
            let byte = try read(upTo: 1)
            if byte.isEmpty || byte[0] == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
            line += byte
        }
    }

    /// Reads exactly `count` bytes, fewer only at the end of the stream.
    func read(exactly count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let part = try read(upTo: count - bytes.count)
            if part.isEmpty { break }
            bytes += part
        }
        return bytes
    }
}

func makeTemporaryDirectory() throws -> String {
    var template = Array("/tmp/microvm-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw SystemError.current("make temporary directory") }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Removes a directory without subdirectories.
func removeTemporaryDirectory(_ path: String) {
    guard let directory = opendir(path) else { return }
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) } }
        if name != ".", name != ".." { unlink(path + "/" + name) }
    }
    closedir(directory)
    rmdir(path)
}
