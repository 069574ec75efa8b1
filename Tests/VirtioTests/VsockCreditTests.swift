import FakeDriver
import Glibc
import Linux
import Testing
import Virtio

@Suite("vsock: credit and back-pressure")
struct VsockCreditTests {
    private typealias Operation = VsockGuest.Operation
    private typealias Packet = VsockGuest.Packet

    private let guest: VsockGuest

    init() throws {
        guest = try VsockGuest()
    }

    /// Sends until the host's socket and the device's window are full: how many bytes went.
    private func fill(_ port: UInt32, _ hostPort: UInt32, ownWindow: UInt32 = 256 << 10) throws -> Int {
        var request = Packet(Operation.creditRequest, port, hostPort)
        request.window = ownWindow
        var window = 0
        var forwarded: UInt32 = 0
        var sent = 0
        while true {
            // The answer to a credit request tells how much the device has room for.
            try guest.send(request)
            let update = try guest.next()
            #expect(update.operation == Operation.creditUpdate)
            window = Int(update.window)
            let room = window - (sent - Int(update.forwarded))
            if room == 0, update.forwarded == forwarded { return sent }
            forwarded = update.forwarded
            guard room > 0 else { continue }
            let count = min(room, 60_000)
            var data = Packet(Operation.readWrite, port, hostPort, payload: pattern(sent, count))
            data.window = ownWindow
            try guest.send(data)
            sent += count
        }
    }

    private func pattern(_ start: Int, _ count: Int) -> [UInt8] { (start..<start + count).map { UInt8(truncatingIfNeeded: $0 / 256 ^ $0) } }

    /// Takes packets until one is no credit update.
    private func nextButCredit() throws -> Packet {
        while true {
            let packet = try guest.next()
            if packet.operation != Operation.creditUpdate { return packet }
        }
    }

    @Test("the guest gets no more than it has room for, and more once it says so")
    func guestWindow() throws {
        let (socket, hostPort) = try guest.connectFromHost(window: 10_000)
        try socket.writeAll(pattern(0, 30_000))
        var received: [UInt8] = []
        while received.count < 10_000 { received += try guest.next().payload }
        #expect(received.count == 10_000)
        #expect(try guest.isSilent())
        var update = Packet(Operation.creditUpdate, 1024, hostPort)
        update.window = 10_000
        update.forwarded = 4_000
        try guest.send(update)
        while received.count < 14_000 { received += try guest.next().payload }
        #expect(received.count == 14_000)
        #expect(try guest.isSilent())
        update.forwarded = 14_000
        update.window = 1 << 20
        try guest.send(update)
        while received.count < 30_000 { received += try guest.next().payload }
        #expect(received == pattern(0, 30_000))
    }

    @Test("a guest that forgets to tell of its room is asked")
    func creditRequest() throws {
        let (socket, hostPort) = try guest.connectFromHost(window: 100)
        try socket.writeAll(pattern(0, 300))
        #expect(try guest.next().payload.count == 100)
        #expect(try guest.next().operation == Operation.creditRequest)
        var update = Packet(Operation.creditUpdate, 1024, hostPort)
        update.forwarded = 100
        update.window = 1000
        try guest.send(update)
        #expect(try guest.next().payload == Array(pattern(0, 300).suffix(200)))
    }

    @Test("absurd credit is no credit", arguments: [(0, 0), (100, 1), (0, 1), (.max, 0x8000_0000)] as [(UInt32, UInt32)])
    func absurdCredit(window: UInt32, forwarded: UInt32) throws {
        let (socket, hostPort) = try guest.connectFromHost()
        var update = Packet(Operation.creditUpdate, 1024, hostPort)
        update.window = window
        update.forwarded = forwarded
        try guest.send(update)
        try socket.writeAll("x")
        let outstanding = 0 &- forwarded
        let expectsData = outstanding < window
        #expect(try guest.isSilent() == !expectsData)
    }

    @Test("the guest hears of room when half the window has been passed on")
    func creditUpdate() throws {
        let (socket, hostPort) = try guest.connectFromHost()
        let window = 256 << 10
        for part in 0..<2 {
            try guest.send(Packet(Operation.readWrite, 1024, hostPort, payload: pattern(part * 65536, 65536)))
            #expect(try socket.read(exactly: 65536) == pattern(part * 65536, 65536))
        }
        let update = try guest.next()
        #expect(update.operation == Operation.creditUpdate)
        #expect(update.window == window)
        #expect(update.forwarded == window / 2)
        #expect(try guest.isSilent())
    }

    @Test("a reader that stalls stalls only its own stream, and loses nothing")
    func stalledReader() throws {
        let (stalled, stalledPort) = try guest.connectFromHost(port: 1)
        let (other, otherPort) = try guest.connectFromHost(port: 2)
        let sent = try fill(1, stalledPort)
        #expect(sent >= 256 << 10)
        try guest.send(Packet(Operation.readWrite, 2, otherPort, payload: Array("alive".utf8)))
        #expect(try other.read(exactly: 5) == Array("alive".utf8))
        try other.writeAll("well")
        #expect(try nextButCredit().payload == Array("well".utf8))
        #expect(try stalled.read(exactly: sent) == pattern(0, sent))
        #expect(try guest.next().operation == Operation.creditUpdate)
    }

    @Test("what was sent before a close reaches a slow reader, though the guest's port is free already", arguments: [Operation.shutdown, Operation.reset])
    func drains(operation: UInt16) throws {
        let (socket, hostPort) = try guest.connectFromHost()
        let sent = try fill(1024, hostPort)
        try guest.send(Packet(operation, 1024, hostPort, flags: 3))
        if operation == Operation.shutdown { #expect(try nextButCredit().operation == Operation.reset) }
        try guest.send(Packet(Operation.readWrite, 1024, hostPort, payload: [1]))
        #expect(try nextButCredit().operation == Operation.reset)
        #expect(try socket.read(exactly: sent + 1) == pattern(0, sent))
    }

    @Test("the half-close of a full stream waits for its bytes")
    func halfCloseAfterBytes() throws {
        let (socket, hostPort) = try guest.connectFromHost()
        let sent = try fill(1024, hostPort)
        try guest.send(Packet(Operation.shutdown, 1024, hostPort, flags: 2))
        #expect(try socket.read(exactly: sent + 1) == pattern(0, sent))
        try socket.writeAll("still here")
        #expect(try nextButCredit().payload == Array("still here".utf8))
    }

    @Test("a reader that goes away with bytes unread ends the stream, and later bytes are thrown away")
    func readerGoes() throws {
        var (socket, hostPort): (Descriptor?, UInt32) = try guest.connectFromHost()
        let sent = try fill(1024, hostPort)
        #expect(sent > 0 && socket != nil)
        socket = nil
        let shutdown = try nextButCredit()
        #expect(shutdown.operation == Operation.shutdown && shutdown.flags & 1 != 0)
        for _ in 0..<20 { try guest.send(Packet(Operation.readWrite, 1024, hostPort, payload: pattern(0, 60_000))) }
        #expect(guest.device.metrics.violations.value == 0)
    }

    @Test("a flood with no receive buffers resumes when the guest offers some, nothing lost")
    func receiveQueueFull() throws {
        let (first, firstPort) = try guest.connectFromHost(port: 1)
        let (second, secondPort) = try guest.connectFromHost(port: 2)
        guest.refills = false
        // Take back what is on offer.
        for _ in 0..<70 where guest.receiveQueue.outstandingCount > 0 {
            try guest.send(Packet(Operation.creditRequest, 1, firstPort))
            _ = try guest.next()
        }
        #expect(guest.receiveQueue.outstandingCount == 0)
        try first.writeAll(pattern(0, 20_000))
        try second.writeAll(pattern(7, 20_000))
        try guest.send(Packet(Operation.request, 9, 9))
        try guest.send(Packet(Operation.readWrite, 2, secondPort, payload: Array("up".utf8)))
        #expect(try second.read(exactly: 2) == Array("up".utf8))
        #expect(try guest.isSilent())
        #expect(guest.device.metrics.stalls.value > 0)
        var received: [UInt32: [UInt8]] = [:]
        var resets = 0
        while received.values.reduce(0, { $0 + $1.count }) < 40_000 {
            try guest.offer(1)
            let packet = try guest.next()
            if packet.operation == Operation.reset { resets += 1 }
            received[packet.guestPort, default: []] += packet.payload
        }
        #expect(received[1] == pattern(0, 20_000))
        #expect(received[2] == pattern(7, 20_000))
        #expect(resets == 1)
        withExtendedLifetime((first, second)) {}
    }

    @Test("an idle device with a stalled stream sleeps")
    func sleeps() throws {
        let (socket, hostPort) = try guest.connectFromHost(window: 100)
        let (gone, _) = try guest.connectFromHost(port: 2, window: 100)
        try socket.writeAll(pattern(0, 5000))
        try gone.writeAll(pattern(0, 5000))
        try gone.shutdown(.both)
        _ = try guest.next()
        _ = try guest.next()
        _ = try fill(1024, hostPort, ownWindow: 100)
        let before = guest.device.metrics.wakeups.value
        usleep(100_000)
        // One for a credit request at most; a loop that spins has thousands.
        #expect(guest.device.metrics.wakeups.value - before <= 2)
        withExtendedLifetime((socket, gone)) {}
    }
}
