import FakeDriver
import Linux
import Testing
import Virtio

@Suite("vsock: connections")
struct VsockConnectionTests {
    private typealias Operation = VsockGuest.Operation
    private typealias Packet = VsockGuest.Packet
    private static let send: UInt32 = 2
    private static let receive: UInt32 = 1

    private let guest: VsockGuest

    init() throws {
        guest = try VsockGuest()
    }

    @Test("the device shows its id, its queues and the guest's context id")
    func configuration() {
        #expect(guest.driver.read(.deviceID) == 19)
        #expect(guest.driver.readConfiguration(0, count: 8) == 3)
        #expect(guest.driver.queues.count == 3)
    }

    @Test("a host process reaches a guest port and bytes go both ways")
    func hostConnects() throws {
        let (socket, hostPort) = try guest.connectFromHost(port: 1024)
        #expect(hostPort >= 1 << 30)
        try socket.writeAll("question")
        let question = try guest.next()
        #expect(question.operation == Operation.readWrite)
        #expect(question.sourceCID == 2 && question.destinationCID == 3)
        #expect(question.guestPort == 1024 && question.hostPort == hostPort)
        #expect(question.length == 8 && question.payload == Array("question".utf8))
        try guest.send(Packet(Operation.readWrite, 1024, hostPort, payload: Array("answer".utf8)))
        #expect(try socket.read(exactly: 6) == Array("answer".utf8))
        #expect(guest.device.metrics.connections.value == 1)
    }

    @Test("bytes that follow CONNECT at once belong to the stream")
    func pipelined() throws {
        let socket = try Descriptor.connected(to: .unix(guest.path))
        try socket.writeAll("CONNECT 7\nearly")
        let request = try guest.next()
        try guest.send(Packet(Operation.response, 7, request.hostPort))
        #expect(try guest.next().payload == Array("early".utf8))
        #expect(try socket.readLine() == "OK \(request.hostPort)")
    }

    @Test("the line may come a byte at a time")
    func slowLine() throws {
        let socket = try Descriptor.connected(to: .unix(guest.path))
        for byte in "CONNECT 4294967295\n".utf8 {
            #expect(try guest.isSilent(milliseconds: 1))
            try socket.writeAll([byte])
        }
        #expect(try guest.next().guestPort == .max)
    }

    @Test(
        "anything but a CONNECT line closes the connection",
        arguments: ["\n", "CONNECT\n", "CONNECT \n", "CONNECT x\n", "CONNECT -1\n", "CONNECT +1\n", "CONNECT 4294967296\n", "CONNECT 1 2\n", "connect 1\n",
            "CONNECT 1\r\n", "GET / HTTP/1.1\r\n", String(repeating: "x", count: 32), "CONNECT 00000000000000000000000000000001\n"])
    func badLine(line: String) throws {
        let socket = try Descriptor.connected(to: .unix(guest.path))
        try socket.writeAll(line)
        #expect(throws: Never.self) { try readToClose(socket) }
        #expect(try guest.isSilent())
    }

    /// The peer closes: the end of the stream, or a reset because it left bytes unread.
    private func readToClose(_ socket: Descriptor) throws {
        do { #expect(try socket.read(upTo: 100).isEmpty) } catch { if error.errno != .connectionReset { throw error } }
    }

    @Test("a guest port nobody listens on closes the connection without OK")
    func refusedByGuest() throws {
        let socket = try Descriptor.connected(to: .unix(guest.path))
        try socket.writeAll("CONNECT 9\n")
        let request = try guest.next()
        try guest.send(Packet(Operation.reset, 9, request.hostPort))
        #expect(try socket.read(upTo: 100).isEmpty)
        #expect(guest.device.metrics.refused.value == 1)
    }

    @Test("a guest reaches the socket of a host port and bytes go both ways")
    func guestConnects() throws {
        let listener = try guest.listen(1024)
        let socket = try guest.connectFromGuest(port: 5000, hostPort: 1024, listener: listener)
        try guest.send(Packet(Operation.readWrite, 5000, 1024, payload: Array("ready".utf8)), split: 5)
        #expect(try socket.read(exactly: 5) == Array("ready".utf8))
        try socket.writeAll("go")
        let packet = try guest.next()
        #expect(packet.payload == Array("go".utf8))
        #expect(packet.forwarded == 5)
    }

    @Test("a host port nobody listens on is a reset")
    func refusedByHost() throws {
        try guest.send(Packet(Operation.request, 5000, 1024))
        #expect(try guest.next().operation == Operation.reset)
        #expect(guest.device.metrics.refused.value == 1)
    }

    @Test("the end of the host's stream is a half-close: the guest still sends")
    func hostHalfCloses() throws {
        let (socket, hostPort) = try guest.connectFromHost()
        try socket.writeAll("last words")
        try socket.shutdown(.writing)
        #expect(try guest.next().payload == Array("last words".utf8))
        let shutdown = try guest.next()
        #expect(shutdown.operation == Operation.shutdown && shutdown.flags == Self.send)
        try guest.send(Packet(Operation.readWrite, 1024, hostPort, payload: [1, 2, 3]))
        #expect(try socket.read(exactly: 3) == [1, 2, 3])
        try guest.send(Packet(Operation.shutdown, 1024, hostPort, flags: Self.send | Self.receive))
        #expect(try guest.next().operation == Operation.reset)
        #expect(try socket.read(upTo: 1).isEmpty)
    }

    @Test("the end of the guest's stream is a half-close: the host still sends")
    func guestHalfCloses() throws {
        let (socket, hostPort) = try guest.connectFromHost()
        try guest.send(Packet(Operation.readWrite, 1024, hostPort, payload: [1, 2, 3]))
        try guest.send(Packet(Operation.shutdown, 1024, hostPort, flags: Self.send))
        #expect(try socket.read(exactly: 100) == [1, 2, 3])
        try socket.writeAll("more")
        #expect(try guest.next().payload == Array("more".utf8))
        withExtendedLifetime(socket) {}
    }

    @Test("a guest that stops receiving breaks the host's pipe and still sends")
    func guestStopsReceiving() throws {
        let (socket, hostPort) = try guest.connectFromHost()
        try guest.send(Packet(Operation.shutdown, 1024, hostPort, flags: Self.receive))
        #expect(throws: SystemError.self) { for _ in 0..<100 { try socket.writeAll("x") } }
        try guest.send(Packet(Operation.readWrite, 1024, hostPort, payload: [9]))
        #expect(try socket.read(exactly: 1) == [9])
    }

    @Test("a host process that closes is a shutdown of both ways after its last bytes")
    func hostCloses() throws {
        var (socket, hostPort): (Descriptor?, UInt32) = try guest.connectFromHost()
        try socket?.writeAll([UInt8](repeating: 5, count: 10_000))
        socket = nil
        var bytes = 0
        var last = try guest.next()
        while last.operation == Operation.readWrite {
            bytes += last.payload.count
            last = try guest.next()
        }
        #expect(bytes == 10_000)
        #expect(last.operation == Operation.shutdown && last.flags == Self.send | Self.receive)
        try guest.send(Packet(Operation.reset, 1024, hostPort))
        #expect(try guest.isSilent())
    }

    @Test("a guest's shutdown of both ways is answered by a reset, and its port is free at once")
    func guestCloses() throws {
        let listener = try guest.listen(1024)
        for round in 0..<3 as Range<UInt8> {
            let socket = try guest.connectFromGuest(port: 5000, hostPort: 1024, listener: listener)
            try guest.send(Packet(Operation.readWrite, 5000, 1024, payload: [round]))
            try guest.send(Packet(Operation.shutdown, 5000, 1024, flags: Self.send | Self.receive))
            #expect(try guest.next().operation == Operation.reset)
            #expect(try socket.read(exactly: 100) == [round])
        }
    }

    @Test("a host process that gives up before the guest answers resets the request")
    func hostGivesUp() throws {
        var socket: Descriptor? = try .connected(to: .unix(guest.path))
        try socket?.writeAll("CONNECT 9\n")
        let request = try guest.next()
        socket = nil
        let reset = try guest.next()
        #expect(reset.operation == Operation.reset && reset.hostPort == request.hostPort)
        try guest.send(Packet(Operation.response, 9, request.hostPort))
        #expect(try guest.next().operation == Operation.reset)
    }

    @Test("host ports differ while they are in use")
    func hostPorts() throws {
        let connections = try (0..<20).map { _ in try guest.connectFromHost(port: 1) }
        #expect(Set(connections.map(\.hostPort)).count == 20)
    }

    @Test("a reset of the device closes everything and a second start works")
    func deviceReset() throws {
        let (socket, _) = try guest.connectFromHost()
        guest.driver.reset()
        #expect(try socket.read(upTo: 1).isEmpty)
        try guest.driver.start()
        try guest.offer(8)
        _ = try guest.connectFromHost()
    }
}
