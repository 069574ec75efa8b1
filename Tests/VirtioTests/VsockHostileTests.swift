import FakeDriver
import Glibc
import GuestMemory
import Linux
import Testing
import Virtio

@Suite("vsock: a hostile driver")
struct VsockHostileTests {
    private typealias Operation = VsockGuest.Operation
    private typealias Packet = VsockGuest.Packet

    /// The device still serves.
    private func expectAlive(_ guest: VsockGuest) throws {
        let (socket, hostPort) = try guest.connectFromHost(port: 77)
        try guest.send(Packet(Operation.readWrite, 77, hostPort, payload: [42]))
        #expect(try socket.read(exactly: 1) == [42])
        #expect(!guest.driver.needsReset)
    }

    @Test("a packet from another source, or too short for a header, is ignored")
    func ignored() throws {
        let guest = try VsockGuest()
        var packet = Packet(Operation.request, 5000, 1024)
        for source in [0, 1, 2, 4, .max] as [UInt64] {
            packet.sourceCID = source
            try guest.send(packet)
        }
        for count in [1, 8, 43] { try guest.send([UInt8](repeating: 3, count: count)) }
        #expect(try guest.isSilent())
        #expect(guest.device.metrics.dropped.value == 8)
        try expectAlive(guest)
    }

    @Test("another destination or another type is reset as it came", arguments: [(4, 1), (0, 1), (.max, 1), (2, 0), (2, 2), (2, 0xffff)] as [(UInt64, UInt16)])
    func foreign(destination: UInt64, type: UInt16) throws {
        let guest = try VsockGuest()
        let listener = try guest.listen(1024)
        var packet = Packet(Operation.request, 5000, 1024)
        packet.destinationCID = destination
        packet.type = type
        try guest.send(packet)
        let reset = try guest.next()
        #expect(reset.operation == Operation.reset)
        #expect(reset.sourceCID == destination && reset.destinationCID == 3 && reset.type == type)
        #expect(reset.guestPort == 5000 && reset.hostPort == 1024)
        withExtendedLifetime(listener) {}
    }

    @Test("a packet of no connection is reset, but never a reset", arguments: [0, 1, 2, 4, 5, 6, 7, 8, 0xffff] as [UInt16])
    func stranger(operation: UInt16) throws {
        let guest = try VsockGuest()
        try guest.send(Packet(Operation.reset, 1, 2))
        #expect(try guest.isSilent(milliseconds: 10))
        try guest.send(Packet(operation, 1, 2))
        #expect(try guest.next().operation == Operation.reset)
    }

    @Test("an operation a connection cannot have ends it", arguments: [0, 1, 2, 8, 0xffff] as [UInt16])
    func wrongOperation(operation: UInt16) throws {
        let guest = try VsockGuest()
        let (socket, hostPort) = try guest.connectFromHost()
        try guest.send(Packet(operation, 1024, hostPort))
        #expect(try guest.next().operation == Operation.reset)
        #expect(try socket.read(upTo: 1).isEmpty)
        #expect(guest.device.metrics.violations.value == 1)
        try expectAlive(guest)
    }

    @Test("anything but an answer to a request ends the request", arguments: [0, 1, 4, 5, 6, 7, 8] as [UInt16])
    func halfOpen(operation: UInt16) throws {
        let guest = try VsockGuest()
        let socket = try Descriptor.connected(to: .unix(guest.path))
        try socket.writeAll("CONNECT 9\n")
        let request = try guest.next()
        try guest.send(Packet(operation, 9, request.hostPort, payload: [1, 2, 3], flags: 3))
        #expect(try guest.next().operation == Operation.reset)
        #expect(try socket.read(upTo: 100).isEmpty)
        try expectAlive(guest)
    }

    @Test("more bytes than there is room for end the connection")
    func creditViolation() throws {
        let guest = try VsockGuest()
        let (socket, hostPort) = try guest.connectFromHost()
        // The socket takes some, the window the rest; then there is room for nothing.
        let part = [UInt8](repeating: 1, count: 65536)
        var sent = 0
        while guest.device.metrics.violations.value == 0, sent < 64 {
            try guest.send(Packet(Operation.readWrite, 1024, hostPort, payload: part))
            sent += 1
        }
        #expect((4...12).contains(sent))
        var last = try guest.next()
        while last.operation == Operation.creditUpdate { last = try guest.next() }
        #expect(last.operation == Operation.reset)
        // What kept within the window still arrives.
        #expect(try socket.read(exactly: sent * part.count).count == (sent - 1) * part.count)
        try expectAlive(guest)
    }

    @Test("a length beyond the chain ends the connection, and one within it is what counts", arguments: [4, 100, 1 << 20, .max] as [UInt32])
    func lengths(length: UInt32) throws {
        let guest = try VsockGuest()
        let (socket, hostPort) = try guest.connectFromHost()
        var packet = Packet(Operation.readWrite, 1024, hostPort, payload: [1, 2, 3])
        packet.length = 2
        try guest.send(packet)
        #expect(try socket.read(exactly: 2) == [1, 2])
        packet.length = length
        try guest.send(packet)
        #expect(try guest.next().operation == Operation.reset)
        #expect(try socket.read(upTo: 1).isEmpty)
    }

    @Test("bytes after the guest's own half-close end the connection")
    func bytesAfterShutdown() throws {
        let guest = try VsockGuest()
        let (socket, hostPort) = try guest.connectFromHost()
        try guest.send(Packet(Operation.shutdown, 1024, hostPort, flags: 2))
        try guest.send(Packet(Operation.readWrite, 1024, hostPort, payload: [1]))
        #expect(try guest.next().operation == Operation.reset)
        #expect(try socket.read(upTo: 1).isEmpty)
    }

    @Test("shutdowns with no flags and unknown flags change nothing")
    func oddShutdowns() throws {
        let guest = try VsockGuest()
        let (socket, hostPort) = try guest.connectFromHost()
        for flags in [0, 4, 0xffff_fff0] as [UInt32] { try guest.send(Packet(Operation.shutdown, 1024, hostPort, flags: flags)) }
        try guest.send(Packet(Operation.readWrite, 1024, hostPort, payload: [1]))
        #expect(try socket.read(exactly: 1) == [1])
        try guest.send(Packet(Operation.shutdown, 1024, hostPort, flags: .max))
        #expect(try guest.next().operation == Operation.reset)
    }

    @Test("a request for a connection there is ends it")
    func portReuse() throws {
        let guest = try VsockGuest()
        let listener = try guest.listen(1024)
        let socket = try guest.connectFromGuest(port: 5000, hostPort: 1024, listener: listener)
        try guest.send(Packet(Operation.request, 5000, 1024))
        #expect(try guest.next().operation == Operation.reset)
        #expect(try socket.read(upTo: 1).isEmpty)
        _ = try guest.connectFromGuest(port: 5000, hostPort: 1024, listener: listener)
    }

    @Test("connections beyond the limit are reset; when some end there is room again")
    func requestFlood() throws {
        var limits = VsockLimits()
        limits.connections = 100
        let guest = try VsockGuest(limits: limits)
        let listener = try guest.listen(1024, backlog: 4096)
        var accepted: [UInt32] = []
        for port in 0..<150 as Range<UInt32> {
            try guest.send(Packet(Operation.request, port, 1024))
            if try guest.next().operation == Operation.response { accepted.append(port) }
        }
        #expect(accepted == Array(0..<100))
        for port in accepted { try guest.send(Packet(Operation.reset, port, 1024)) }
        try expectAlive(guest)
        withExtendedLifetime(listener) {}
    }

    @Test("a listener with a full backlog is a refusal, not a wait")
    func fullBacklog() throws {
        let guest = try VsockGuest()
        let listener = try guest.listen(1024, backlog: 1)
        var refused = 0
        for port in 0..<10 as Range<UInt32> {
            try guest.send(Packet(Operation.request, port, 1024))
            if try guest.next().operation == Operation.reset { refused += 1 }
        }
        #expect(refused == 8)
        withExtendedLifetime(listener) {}
    }

    @Test("host sockets outside the path cannot be named: a port is a number")
    func longPath() throws {
        // 107 bytes are the limit of a Unix path: the port's digits may exceed it, which is a refusal.
        let guest = try VsockGuest()
        try guest.send(Packet(Operation.request, 1, .max))
        #expect(try guest.next().operation == Operation.reset)
    }

    @Test("strangers without end and no receive buffers cost a bounded number of resets")
    func resetFlood() throws {
        let guest = try VsockGuest(buffers: 0)
        for port in 0..<3000 as Range<UInt32> { try guest.send(Packet(Operation.readWrite, port, 1)) }
        #expect(guest.device.metrics.dropped.value == 3000 - 1024)
        try guest.offer(10)
        #expect(try guest.next().guestPort == 0)
        #expect(try guest.next().guestPort == 1)
    }

    @Test("a receive buffer without room for payload breaks the device, which says so", arguments: [0, 1, 43, 44])
    func smallBuffers(size: Int) throws {
        let guest = try VsockGuest(buffers: 0)
        try guest.receiveQueue.add([FakeQueue.Segment(0x8000, size, writable: true)])
        try guest.send(Packet(Operation.readWrite, 1, 1))
        try guest.driver.wait("NEEDS_RESET") { guest.driver.needsReset }
    }

    @Test("a broken ring breaks the device and a reset brings it back", arguments: [0, 1])
    func brokenRing(queue: Int) throws {
        let guest = try VsockGuest(buffers: 4)
        try guest.driver.queues[queue].offer(9_999)
        guest.driver.queues[queue].notify()
        if queue == 0 {
            // Noticed when a buffer is needed.
            for _ in 0..<5 where !guest.driver.needsReset {
                try guest.transmitQueue.add([FakeQueue.Segment(guest.driver.place(Packet(5, 1, 1).bytes), 44, writable: false)])
                guest.transmitQueue.kick()
                usleep(20_000)
            }
        }
        try guest.driver.wait("NEEDS_RESET") { guest.driver.needsReset }
        try guest.driver.start()
        try guest.offer(8)
        try expectAlive(guest)
    }

    @Test("a broken device ends its streams and sleeps")
    func brokenSleeps() throws {
        let guest = try VsockGuest()
        let (socket, _) = try guest.connectFromHost()
        let waiting = try Descriptor.connected(to: .unix(guest.path))
        try guest.driver.queues[1].offer(9_999)
        guest.driver.queues[1].notify()
        try guest.driver.wait("NEEDS_RESET") { guest.driver.needsReset }
        #expect(try socket.read(upTo: 1).isEmpty)
        #expect(try waiting.read(upTo: 1).isEmpty)
        let late = try Descriptor.connected(to: .unix(guest.path))
        try late.writeAll("CONNECT 1\n")
        let before = guest.device.metrics.wakeups.value
        usleep(50_000)
        #expect(guest.device.metrics.wakeups.value - before <= 2)
    }

    @Test("a receive buffer of many pages becomes one packet of 64 KiB at most")
    func largeBuffers() throws {
        let guest = try VsockGuest(buffers: 4, bufferSize: 200 << 10)
        let (socket, _) = try guest.connectFromHost()
        try socket.writeAll([UInt8](repeating: 1, count: 100_000))
        var lengths: [Int] = []
        while lengths.reduce(0, +) < 100_000 { lengths.append(try guest.next().payload.count) }
        #expect(lengths.allSatisfy { $0 <= 65536 })
    }
}

@Suite("vsock: time-outs and limits of hosts")
struct VsockLimitTests {
    private typealias Operation = VsockGuest.Operation
    private typealias Packet = VsockGuest.Packet

    private func limits(_ change: (inout VsockLimits) -> Void) -> VsockLimits {
        var limits = VsockLimits()
        change(&limits)
        return limits
    }

    @Test("a host process that never names a port is closed")
    func silentHost() throws {
        let guest = try VsockGuest(limits: limits { $0.handshakeNanoseconds = 50_000_000 })
        let socket = try Descriptor.connected(to: .unix(guest.path))
        try socket.writeAll("CONN")
        #expect(try socket.read(upTo: 1).isEmpty)
    }

    @Test("a guest that never answers a request has it reset")
    func silentGuest() throws {
        let guest = try VsockGuest(limits: limits { $0.handshakeNanoseconds = 50_000_000 })
        let socket = try Descriptor.connected(to: .unix(guest.path))
        try socket.writeAll("CONNECT 9\n")
        #expect(try guest.next().operation == Operation.request)
        #expect(try guest.next().operation == Operation.reset)
        #expect(try socket.read(upTo: 1).isEmpty)
        #expect(guest.device.metrics.refused.value == 1)
    }

    @Test("a guest that never resets what both sides have shut down has it reset")
    func lingering() throws {
        let guest = try VsockGuest(limits: limits { $0.closingNanoseconds = 50_000_000 })
        _ = try guest.connectFromHost()
        #expect(try guest.next().operation == Operation.shutdown)
        #expect(try guest.next().operation == Operation.reset)
    }

    @Test("half-open connections beyond the limit wait in the listener's backlog")
    func halfOpen() throws {
        let guest = try VsockGuest(limits: limits { $0.halfOpen = 4 })
        let waiting = try (0..<4).map { _ in try Descriptor.connected(to: .unix(guest.path)) }
        let late = try Descriptor.connected(to: .unix(guest.path))
        try late.writeAll("CONNECT 5\n")
        #expect(try guest.isSilent())
        try waiting[0].writeAll("CONNECT 1\n")
        #expect(try guest.isSilent() == false)
        // That one is still half-open; its end makes room.
        #expect(try guest.isSilent())
        try waiting[1].writeAll("nonsense\n")
        #expect(try guest.next().guestPort == 5)
    }

    @Test("with few connections the window is large, with many small")
    func windows() throws {
        let guest = try VsockGuest(limits: limits { $0.fewConnections = 2 })
        let listener = try guest.listen(1)
        var windows: [UInt32] = []
        for port in 0..<3 as Range<UInt32> {
            try guest.send(Packet(Operation.request, port, 1))
            windows.append(try guest.next().window)
        }
        #expect(windows == [256 << 10, 256 << 10, 32 << 10])
        withExtendedLifetime(listener) {}
    }
}

@Suite("vsock: transport reset")
struct VsockTransportResetTests {
    private typealias Operation = VsockGuest.Operation

    private func offerEvent(_ guest: VsockGuest, at address: UInt64) throws {
        try guest.eventQueue.add([FakeQueue.Segment(address, 4, writable: true)])
    }

    @Test("a restored guest hears of the reset before anything else", arguments: [UInt64.max, ~Feature.ringEventIndex])
    func restored(features: UInt64) throws {
        let guest = try VsockGuest(restored: true, features: features)
        let socket = try Descriptor.connected(to: .unix(guest.path))
        try socket.writeAll("CONNECT 9\n")
        #expect(try guest.isSilent())
        let address = try guest.driver.place([0xff, 0xff, 0xff, 0xff])
        for _ in 0..<8 { try offerEvent(guest, at: address) }
        guest.eventQueue.kick()
        let used = try guest.eventQueue.waitForUsed()
        #expect(used.written == 4)
        #expect(try guest.driver.bytes(address, count: 4) == [0, 0, 0, 0])
        #expect(try guest.isSilent())
        // Linux offers the buffer anew once it has reset its sockets.
        try offerEvent(guest, at: address)
        guest.eventQueue.kick()
        #expect(try guest.next().operation == Operation.request)
        #expect(guest.device.state == VsockState(guestCID: 3))
    }

    @Test("a fresh guest gets no event")
    func fresh() throws {
        let guest = try VsockGuest()
        for _ in 0..<8 { try offerEvent(guest, at: 0x8000) }
        guest.eventQueue.kick()
        _ = try guest.connectFromHost()
        #expect(try guest.eventQueue.takeUsed() == nil)
    }
}
