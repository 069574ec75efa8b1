import FakeDriver
import Linux
import Testing

@testable import Virtio

/// What a guest may try: whatever it is, the next good frame passes, or the device asks for a reset.
@Suite("network device, hostile drivers")
struct NetworkHostileTests {
    typealias Guest = NetworkGuest

    private static let tcp = Guest.frame([UInt8](repeating: 0, count: 3000))

    /// A header that asks for something, and why it must not be had.
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let bytes: [UInt8]
        var features = UInt64.max

        init(_ description: String, _ header: [UInt8], _ frame: [UInt8] = NetworkHostileTests.tcp, features: UInt64 = .max) {
            testDescription = description
            bytes = header + frame
            self.features = features
        }
    }

    static let refused = [
        Case("checksum behind the frame", Guest.header(flags: 1, start: 34, offset: 60_000)),
        Case("checksum at the frame's last byte", Guest.header(flags: 1, start: 3012, offset: 1)),
        Case("checksum that begins in the Ethernet header", Guest.header(flags: 1, start: 13, offset: 6)),
        Case("largest checksum offsets", Guest.header(flags: 1, start: .max, offset: .max)),
        Case("checksum without the feature", Guest.header(flags: 1, start: 34, offset: 6), features: ~NetworkFeature.checksum),
        Case("unknown segmentation", Guest.header(flags: 1, type: 2, segment: 1000, start: 34, offset: 16)),
        Case("UDP fragmentation", Guest.header(flags: 1, type: 3, segment: 1000, start: 34, offset: 16)),
        Case("UDP segmentation", Guest.header(flags: 1, type: 5, segment: 1000, start: 34, offset: 16)),
        Case("ECN of nothing", Guest.header(flags: 1, type: 0x80, segment: 1000, start: 34, offset: 16)),
        Case("segments of nothing", Guest.header(flags: 1, type: 1, headers: 54, segment: 0, start: 34, offset: 16)),
        Case("tiny segments", Guest.header(flags: 1, type: 1, headers: 54, segment: 7, start: 34, offset: 16)),
        Case("segments without checksums", Guest.header(type: 1, headers: 54, segment: 1000)),
        Case("headers longer than the frame", Guest.header(flags: 1, type: 1, headers: 4000, segment: 1000, start: 34, offset: 16)),
        Case("IPv4 segments without the feature", Guest.header(flags: 1, type: 1, segment: 1000, start: 34, offset: 16), features: ~NetworkFeature.hostSegments4),
        Case("IPv6 segments without the feature", Guest.header(flags: 1, type: 4, segment: 1000, start: 54, offset: 16), features: ~NetworkFeature.hostSegments6),
        Case("ECN without the feature", Guest.header(flags: 1, type: 0x81, segment: 1000, start: 34, offset: 16), features: ~NetworkFeature.hostCongestion),
        Case("nothing", [], []),
        Case("a piece of a header", [0, 0, 0], []),
        Case("a header alone", Guest.header(), []),
        Case("a piece of an Ethernet header", Guest.header(), Array(tcp.prefix(13))),
        Case("more than a frame can be", Guest.header(), tcp + [UInt8](repeating: 0, count: 70_000)),
    ]

    @Test("is dropped, and the next frame passes", arguments: refused)
    func drop(_ bad: Case) throws {
        let guest = try Guest(features: bad.features)
        if bad.bytes.isEmpty {
            let head = try guest.transmit.add([.init(0x1000, 0, writable: false)])
            guest.transmit.kick()
            #expect(try guest.transmit.waitForUsed().head == head)
        } else {
            try guest.send(bad.bytes)
        }
        #expect(guest.device.metrics.dropped.value == 1)
        try expectGoodFramePasses(guest)
    }

    private func expectGoodFramePasses(_ guest: Guest) throws {
        try guest.send(Guest.header() + Guest.frame([42]))
        #expect(try guest.takeFromCable() == Guest.header() + Guest.frame([42]))
        #expect(!guest.driver.needsReset)
    }

    @Test("what is allowed passes: checksums and segments as agreed")
    func allowed() throws {
        let guest = try Guest()
        for header in [
            Guest.header(flags: 1, start: 34, offset: 16), Guest.header(flags: 1, type: 1, headers: 54, segment: 1448, start: 34, offset: 16),
            Guest.header(flags: 1, type: 0x84, headers: 74, segment: 8, start: 54, offset: 16),
        ] {
            try guest.send(header + Self.tcp)
            #expect(try guest.takeFromCable() == header + Self.tcp)
        }
    }

    @Test("what has no meaning in a header is not passed on")
    func cleared() throws {
        let guest = try Guest()
        try guest.send(Guest.header(flags: 0xfe, headers: 9, segment: 9, start: 1, offset: 2, buffers: 77) + Self.tcp)
        #expect(try guest.takeFromCable() == Guest.header(start: 1, offset: 2) + Self.tcp)
    }

    @Test("a frame from somebody else's address is dropped", arguments: [Guest.peer, MACAddress("ff:ff:ff:ff:ff:ff")!, .zero, MACAddress("02:00:5e:10:00:00")!])
    func spoofed(_ source: MACAddress) throws {
        let guest = try Guest()
        try guest.send(Guest.header() + Guest.frame([1], from: source))
        #expect(guest.device.metrics.spoofed.value == 1)
        try expectGoodFramePasses(guest)
    }

    @Test("a frame in as many pieces as a chain may have passes")
    func pieces() throws {
        let guest = try Guest()
        let frame = Guest.frame([UInt8](repeating: 1, count: 998))
        try guest.send(Guest.header() + frame, split: 1, layout: .indirect)
        #expect(try guest.takeFromCable() == Guest.header() + frame)
        try expectGoodFramePasses(guest)
    }

    @Test("a frame the buffers are too small for is lost, and nothing else")
    func truncated() throws {
        let guest = try Guest(features: Feature.version1)
        try guest.offer(2, of: 100)
        try guest.cable.send(Guest.header() + Guest.frame([UInt8](repeating: 1, count: 500), from: Guest.peer))
        try guest.cable.send(Guest.header() + Guest.frame([7], from: Guest.peer))
        #expect(try guest.receive.waitForUsed().written == 27)
        #expect(guest.device.metrics.truncated.value == 1)
    }

    @Test("a frame larger than the link's MTU is lost to a driver that takes no large ones")
    func tooLong() throws {
        let guest = try Guest(features: Feature.version1 | NetworkFeature.mergedBuffers)
        try guest.offer(10, of: 1526)
        try guest.cable.send(Guest.header() + Guest.frame([UInt8](repeating: 1, count: 3000), from: Guest.peer))
        try guest.cable.send(Guest.header() + Guest.frame([7], from: Guest.peer))
        #expect(try guest.receive.waitForUsed().written == 27)
        #expect(guest.device.metrics.truncated.value == 1)
    }

    @Test("buffers with no room behind the header break the device, not the VMM", arguments: [0, 1, 12])
    func smallBuffers(_ size: Int) throws {
        let guest = try Guest()
        let place = try guest.driver.arena.allocate(16)
        try guest.receive.add([.init(place, size, writable: true)])
        guest.receive.kick()
        try guest.cable.send(Guest.header() + Guest.frame([1], from: Guest.peer))
        try guest.driver.wait("the device to ask for a reset") { guest.driver.needsReset }
        try guest.driver.start()
        try expectGoodFramePasses(guest)
    }

    @Test("buffers of a byte each take a frame, its header across the first twelve")
    func scattered() throws {
        let guest = try Guest(features: Feature.version1)
        let place = try guest.driver.arena.allocate(64)
        try guest.receive.add(FakeQueue.split(place, 64, by: 1, writable: true))
        guest.receive.kick()
        try guest.cable.send(Guest.header() + Guest.frame([7], from: Guest.peer))
        #expect(try guest.receive.waitForUsed().written == 27)
        #expect(try guest.driver.bytes(place, count: 27) == Guest.header(buffers: 1) + Guest.frame([7], from: Guest.peer))
    }

    @Test("chains that break the ring's rules break the device, not the VMM", arguments: [0, 1])
    func brokenRing(_ index: Int) throws {
        let guest = try Guest()
        try guest.cable.send(Guest.header() + Guest.frame([1], from: Guest.peer))
        try guest.driver.queues[index].offer(5000)
        guest.driver.queues[index].notify()
        try guest.driver.wait("the device to ask for a reset") { guest.driver.needsReset }
        try guest.driver.start()
        try expectGoodFramePasses(guest)
    }

    @Test("addresses outside of memory break the device, not the VMM", arguments: [0, 1])
    func outside(_ index: Int) throws {
        let guest = try Guest()
        try guest.cable.send(Guest.header() + Guest.frame([1], from: Guest.peer))
        try guest.driver.queues[index].add([.init(0xffff_ffff_ffff_f000, 4096, writable: index == 0)])
        guest.driver.queues[index].kick()
        try guest.driver.wait("the device to ask for a reset") { guest.driver.needsReset }
    }

    @Test("two floods do not starve each other")
    func floods() throws {
        let guest = try Guest()
        let bytes = Guest.header() + Guest.frame([UInt8](repeating: 1, count: 60))
        let place = try guest.driver.place(bytes)
        try guest.offer(128, of: 1526)
        var received = 0
        var sent = 0
        for _ in 0..<40 {
            for _ in 0..<32 {
                try guest.transmit.add([.init(place, bytes.count, writable: false)])
                _ = try? guest.cable.send(Guest.header() + Guest.frame([2], from: Guest.peer))
            }
            guest.transmit.kick()
            while guest.transmit.outstandingCount > 0 {
                _ = try guest.transmit.waitForUsed()
                sent += 1
                _ = try guest.takeFromCable()
            }
            while let used = try guest.receive.takeUsed() {
                received += 1
                _ = used
                try guest.offer(1, of: 1526)
            }
        }
        #expect(sent == 1280)
        #expect(received > 100)
    }
}
