import FakeDriver
import Glibc
import GuestMemory
import Linux
import Synchronization
import Testing
import Virtio

@Suite("vsock: volume")
struct VsockBulkTests {
    private typealias Operation = VsockGuest.Operation
    private typealias Packet = VsockGuest.Packet

    /// A stream of bytes in which every position can be told from its neighbours.
    private static let material: [UInt8] = {
        var state: UInt64 = 88172645463325252
        let period = (0..<1 << 20).map { _ in
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return UInt8(truncatingIfNeeded: state)
        }
        // A piece may begin just before the end of a period.
        return period + period.prefix(70_000)
    }()

    private static func matches(_ bytes: [UInt8], at position: Int) -> Bool {
        let start = position % (1 << 20)
        return bytes.withUnsafeBytes { bytes in
            material.withUnsafeBytes { material in
                guard let received = bytes.baseAddress, let sent = material.baseAddress else { return true }
                return memcmp(received, sent + start, bytes.count) == 0
            }
        }
    }

    @Test("100 MiB each way at once arrive as they were sent", .timeLimit(.minutes(3)))
    func bulk() throws {
        let total = 100 << 20
        let guest = try VsockGuest(buffers: 80)
        let (socket, hostPort) = try guest.connectFromHost()
        let wrong = Mutex<[String]>([])
        let writer = try Thread("bulk writer") {
            var sent = 0
            while sent < total {
                let start = sent % (1 << 20)
                let count = min(65_536, total - sent)
                guard let went = try? socket.write(Self.material[start..<start + count]) else { break }
                sent += went
            }
            try? socket.shutdown(.writing)
        }
        let reader = try Thread("bulk reader") {
            var received = 0
            while received < total, let bytes = try? socket.read(upTo: 65_536), !bytes.isEmpty {
                if !Self.matches(bytes, at: received) { wrong.withLock { $0.append("host's bytes at \(received)") } }
                received += bytes.count
            }
            if received != total { wrong.withLock { $0.append("host got \(received)") } }
        }

        let transmit = guest.transmitQueue
        var free: [UInt64] = []
        for _ in 0..<8 { free.append(try guest.driver.arena.allocate(66_000)) }
        var inFlight: [UInt16: UInt64] = [:]
        let window: UInt32 = 256 << 10
        var (sent, received, told) = (0, 0, 0)
        var (hostWindow, hostForwarded): (Int, UInt32) = (0, 0)
        var ended = false
        try guest.send(Packet(Operation.creditRequest, 1024, hostPort))
        while sent < total || !ended || !inFlight.isEmpty {
            var progress = false
            while let used = try transmit.takeUsed() {
                let slot = inFlight.removeValue(forKey: used.head)
                free.append(try #require(slot))
                progress = true
            }
            while let packet = try guest.poll() {
                progress = true
                hostWindow = Int(packet.window)
                hostForwarded = packet.forwarded
                if !Self.matches(packet.payload, at: received) { wrong.withLock { $0.append("guest's bytes at \(received)") } }
                received += packet.payload.count
                if packet.operation == Operation.shutdown { ended = true }
                if packet.operation == Operation.reset { throw FakeDriverError.timedOut("no reset") }
            }
            let room = hostWindow - Int(UInt32(truncatingIfNeeded: sent) &- hostForwarded)
            let count = min(65_536, room, total - sent)
            let mustTell = received - told > window / 2
            if count > 0 || mustTell, let slot = free.popLast() {
                let start = sent % (1 << 20)
                var packet = Packet(count > 0 ? Operation.readWrite : Operation.creditUpdate, 1024, hostPort)
                if count > 0 { packet.payload = Array(Self.material[start..<start + count]) }
                packet.length = UInt32(packet.payload.count)
                packet.forwarded = UInt32(truncatingIfNeeded: received)
                let bytes = packet.bytes
                try guest.driver.memory.slice(slot, UInt64(bytes.count)).write(bytes)
                inFlight[try transmit.add(FakeQueue.split(slot, bytes.count, by: 30_001, writable: false))] = slot
                transmit.kick()
                sent += max(count, 0)
                told = received
                progress = true
            }
            if !progress {
                try transmit.wantInterrupts()
                try guest.receiveQueue.wantInterrupts()
                try guest.driver.wait("progress") {
                    guard try transmit.usedIndex() == transmit.lastUsed else { return true }
                    return try guest.receiveQueue.usedIndex() != guest.receiveQueue.lastUsed
                }
            }
        }
        writer.join()
        reader.join()
        #expect(received == total)
        #expect(wrong.withLock { $0 } == [])
        #expect(guest.device.metrics.bytesToGuest.value == total)
        #expect(guest.device.metrics.bytesFromGuest.value == total)
    }

    @Test("1,000 short streams from the host, ten at a time, each answer its own")
    func shortStreams() throws {
        let guest = try VsockGuest()
        for round in 0..<100 {
            let sockets = try (0..<10).map { index in
                let socket = try Descriptor.connected(to: .unix(guest.path))
                try socket.writeAll("CONNECT 1024\nquestion \(round * 10 + index)")
                return socket
            }
            // Each stream: REQUEST, question, then the guest answers and closes.
            var closed = 0
            while closed < 10 {
                let packet = try guest.next()
                switch packet.operation {
                case Operation.request: try guest.send(Packet(Operation.response, 1024, packet.hostPort))
                case Operation.readWrite:
                    try guest.send(Packet(Operation.readWrite, 1024, packet.hostPort, payload: packet.payload + Array("!".utf8)))
                    try guest.send(Packet(Operation.shutdown, 1024, packet.hostPort, flags: 3))
                case Operation.reset: closed += 1
                default: Issue.record("\(packet)")
                }
            }
            for (index, socket) in sockets.enumerated() {
                #expect(try socket.readLine().hasPrefix("OK "))
                #expect(try socket.readLine() == "question \(round * 10 + index)!")
            }
        }
        #expect(guest.device.metrics.connections.value == 1000)
    }

    @Test("1,000 streams open at once")
    func manyStreams() throws {
        let guest = try VsockGuest()
        let listener = try guest.listen(1024, backlog: 4096)
        var sockets: [UInt32: Descriptor] = [:]
        for port in 0..<1000 as Range<UInt32> {
            sockets[port] = try guest.connectFromGuest(port: port, hostPort: 1024, listener: listener)
        }
        for (port, socket) in sockets {
            try guest.send(Packet(Operation.readWrite, port, 1024, payload: Array("\(port)\n".utf8)))
            #expect(try socket.readLine() == "\(port)")
            try socket.writeAll("\(port)")
            let packet = try guest.next()
            #expect(packet.guestPort == port && packet.payload == Array("\(port)".utf8))
        }
    }

    @Test("streams with data take turns: none waits for another to end")
    func fairness() throws {
        let guest = try VsockGuest(buffers: 4)
        let streams = try (1...4 as ClosedRange<UInt32>).map { try guest.connectFromHost(port: $0, window: 1 << 20) }
        guest.refills = false
        while guest.receiveQueue.outstandingCount > 0 {
            try guest.send(Packet(Operation.creditRequest, 1, streams[0].hostPort))
            _ = try guest.next()
        }
        for stream in streams { try stream.socket.writeAll([UInt8](repeating: 1, count: 100_000)) }
        var seen: [UInt32] = []
        for _ in 0..<40 {
            try guest.offer(1)
            let packet = try guest.next()
            if packet.operation == Operation.readWrite { seen.append(packet.guestPort) }
        }
        for port in 1...4 as ClosedRange<UInt32> { #expect(seen.filter { $0 == port }.count >= 8) }
    }
}
