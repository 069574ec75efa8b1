import FakeDriver
import Glibc
import Linux
import Testing

@testable import Virtio

@Suite("network device")
struct NetworkTests {
    typealias Guest = NetworkGuest

    @Test("an empty slot is no device; plugged in it is one, with address, MTU and a link")
    func plug() throws {
        let guest = try Guest(connected: false)
        #expect(guest.driver.read(.deviceID) == 0)
        #expect(guest.driver.read(.magicValue) == 0x7472_6976)
        try guest.device.connect(guest.link)
        #expect(guest.driver.read(.deviceID) == 1)
        try guest.driver.start()
        #expect((0..<6).map { UInt8(guest.driver.readConfiguration($0, count: 1)) } == Guest.address.bytes)
        #expect(guest.driver.readConfiguration(6, count: 2) == 1)
        #expect(guest.driver.readConfiguration(10, count: 2) == 1500)
    }

    @Test("a second cable does not fit")
    func connectTwice() throws {
        let guest = try Guest()
        #expect(throws: SystemError.self) { try guest.device.connect(guest.link) }
    }

    @Test("a frame from the guest comes out as it is", arguments: FakeQueue.Layout.allCases, [Int.max, 1, 7, 13])
    func send(layout: FakeQueue.Layout, split: Int) throws {
        let guest = try Guest()
        let frame = Guest.frame((0..<100).map { UInt8($0) })
        try guest.send(Guest.header() + frame, split: split, layout: layout)
        #expect(try guest.takeFromCable() == Guest.header() + frame)
        #expect(guest.device.metrics.framesFromGuest.value == 1)
        #expect(guest.device.metrics.bytesFromGuest.value == UInt64(frame.count))
    }

    @Test("a frame for the guest goes into one buffer, which says that it is one")
    func receive() throws {
        let guest = try Guest()
        let frame = Guest.frame((0..<200).map { UInt8($0) }, from: Guest.peer)
        let places = try guest.offer(64, of: 1526)
        try guest.cable.send(Guest.header(flags: 2) + frame)
        let used = try guest.receive.waitForUsed()
        #expect(used.written == UInt32(12 + frame.count))
        let place = try #require(places[used.head])
        #expect(try guest.driver.bytes(place, count: Int(used.written)) == Guest.header(flags: 2, buffers: 1) + frame)
    }

    @Test("a large frame goes over as many buffers as it needs, the next begins in the next")
    func merge() throws {
        let guest = try Guest()
        let places = try guest.offer(200, of: 1000)
        let frame = Guest.frame((0..<30_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }, from: Guest.peer)
        let next = Guest.frame([1, 2, 3], from: Guest.peer)
        try guest.cable.send(Guest.header(type: 1, segment: 1448) + frame)
        try guest.cable.send(Guest.header() + next)
        var got: [UInt8] = []
        for _ in 0..<31 {
            let used = try guest.receive.waitForUsed()
            got += try guest.driver.bytes(#require(places[used.head]), count: Int(used.written))
        }
        #expect(got == Guest.header(type: 1, segment: 1448, buffers: 31) + frame)
        let used = try guest.receive.waitForUsed()
        #expect(try guest.driver.bytes(#require(places[used.head]), count: Int(used.written)) == Guest.header(buffers: 1) + next)
    }

    @Test("many frames pass through a queue that is refilled as it empties, in order")
    func stream() throws {
        let guest = try Guest()
        var places = try guest.offer(100, of: 1526)
        var sent = 0
        for expected in 0..<2000 {
            while sent < min(2000, expected + 50) {
                try guest.cable.send(Guest.header() + Guest.frame([UInt8(truncatingIfNeeded: sent), UInt8(truncatingIfNeeded: sent >> 8)], from: Guest.peer))
                sent += 1
            }
            let used = try guest.receive.waitForUsed()
            let place = try #require(places[used.head])
            places[used.head] = nil
            let bytes = try guest.driver.bytes(place, count: 28)
            #expect(Int(bytes[26]) | Int(bytes[27]) << 8 == expected)
            places[try guest.receive.add([.init(place, 1526, writable: true)])] = place
            guest.receive.kick()
        }
    }

    @Test("without buffers frames wait in the tap, and come when there are some")
    func noBuffers() throws {
        let guest = try Guest()
        let frame = Guest.header() + Guest.frame([9], from: Guest.peer)
        try guest.cable.send(frame)
        #expect(throws: FakeDriverError.self) { try guest.receive.waitForUsed(milliseconds: 50) }
        #expect(guest.device.metrics.stalls.value > 0)
        // Too few for the largest frame: still nothing is read that might be lost.
        try guest.offer(10, of: 1526)
        #expect(throws: FakeDriverError.self) { try guest.receive.waitForUsed(milliseconds: 50) }
        try guest.offer(40, of: 1526)
        #expect(try guest.receive.waitForUsed().written == UInt32(frame.count))
    }

    @Test("a driver that takes no large frames needs no more than a buffer or two", arguments: [NetworkFeature.mergedBuffers, 0])
    func plainDriver(merged: UInt64) throws {
        let guest = try Guest(features: Feature.version1 | NetworkFeature.address | merged)
        try guest.offer(2, of: 1526)
        let frame = Guest.frame([UInt8](repeating: 3, count: 1486), from: Guest.peer)
        try guest.cable.send(Guest.header() + frame)
        #expect(try guest.receive.waitForUsed().written == 1512)
    }

    @Test("a full tap stops the guest's queue, and room in it sets it going again")
    func backPressure() throws {
        let guest = try Guest()
        let bytes = Guest.header() + Guest.frame([UInt8](repeating: 1, count: 1400))
        let place = try guest.driver.place(bytes)
        for _ in 0..<256 { try guest.transmit.add([.init(place, bytes.count, writable: false)]) }
        guest.transmit.kick()
        var done = 0
        while (try? guest.transmit.waitForUsed(milliseconds: 100)) != nil { done += 1 }
        #expect(done < 256)
        #expect(guest.device.metrics.blocked.value > 0)
        for _ in 0..<256 { #expect(try guest.takeFromCable()?.count == bytes.count) }
        while done < 256 {
            _ = try guest.transmit.waitForUsed()
            done += 1
        }
        #expect(guest.device.metrics.framesFromGuest.value == 256)
    }

    @Test("a cable that is pulled takes the link down; what the guest sends then is dropped")
    func pulled() throws {
        let guest = try Guest()
        try guest.cable.shutdown(.both)
        try guest.driver.wait("link down") { guest.driver.readConfiguration(6, count: 2) == 0 }
        #expect(guest.driver.configurationChanges == 1)
        try guest.send(Guest.header() + Guest.frame([1]))
        #expect(guest.device.metrics.dropped.value == 1)
    }

    @Test("a cable that comes after the driver brings the link up")
    func pluggedLater() throws {
        let guest = try Guest(connected: false)
        try guest.device.restoreState(NetworkState(address: Guest.address, mtu: Guest.mtu).encoded)
        try guest.driver.start()
        #expect(guest.driver.readConfiguration(6, count: 2) == 0)
        try guest.offer(64, of: 1526)
        try guest.device.connect(guest.link)
        try guest.driver.wait("link up") { guest.driver.readConfiguration(6, count: 2) == 1 }
        try guest.cable.send(Guest.header() + Guest.frame([1], from: Guest.peer))
        #expect(try guest.receive.waitForUsed().written == 27)
    }

    @Test("the next driver finds the cable where the last one left it")
    func reset() throws {
        let guest = try Guest()
        try guest.offer(64, of: 1526)
        guest.driver.reset()
        try guest.driver.start()
        try guest.send(Guest.header() + Guest.frame([5]))
        #expect(try guest.takeFromCable() == Guest.header() + Guest.frame([5]))
        try guest.offer(64, of: 1526)
        try guest.cable.send(Guest.header() + Guest.frame([1], from: Guest.peer))
        #expect(try guest.receive.waitForUsed().written == 27)
    }

    @Test("a snapshot keeps address and MTU, and takes nothing else for one")
    func state() throws {
        let guest = try Guest()
        guest.device.pause()
        let saved = try guest.device.savedState()
        guest.device.resume()
        let other = try NetworkDevice()
        #expect(!other.isPlugged)
        try other.restoreState(saved)
        #expect(other.isPlugged)
        #expect(Array(other.configuration.prefix(6)) == Guest.address.bytes)
        try other.restoreState([])
        #expect(!other.isPlugged)
        for bytes in [[1], [UInt8](repeating: 0, count: 7), [UInt8](repeating: 0, count: 9)] {
            #expect(throws: SystemError.self) { try other.restoreState(bytes) }
        }
    }
}
