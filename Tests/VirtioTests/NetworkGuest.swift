import FakeDriver
import Linux
import Testing

@testable import Virtio

/// A driver of a network device, and the other end of its cable: a socket that keeps message boundaries, as a tap does.
final class NetworkGuest {
    static let address = MACAddress("02:00:5e:10:00:01")!
    static let peer = MACAddress("02:00:5e:10:00:02")!
    static let mtu: UInt16 = 1500

    let device: NetworkDevice
    let driver: FakeDriver
    let cable: Descriptor
    let link: NetworkLink
    var accepted: UInt64?

    /// - Parameters:
    ///   - features: what the driver accepts.
    ///   - connected: before the driver starts.
    init(features: UInt64 = .max, queueSize: UInt16 = 256, connected: Bool = true) throws {
        let (ours, theirs) = try Descriptor.messageSocketPair()
        cable = ours
        try cable.setNonBlocking()
        link = try NetworkLink(frames: theirs, address: Self.address, mtu: Self.mtu) { _ in }
        device = try NetworkDevice()
        driver = try FakeDriver(device)
        guard connected else { return }
        try device.connect(link)
        try driver.start(features: features, queueSize: queueSize)
    }

    var receive: FakeQueue { driver.queues[0] }
    var transmit: FakeQueue { driver.queues[1] }

    static func frame(_ payload: [UInt8], from source: MACAddress = NetworkGuest.address) -> [UInt8] {
        peer.bytes + source.bytes + [0x08, 0x00] + payload
    }

    static func header(
        flags: UInt8 = 0, type: UInt8 = 0, headers: UInt16 = 0, segment: UInt16 = 0, start: UInt16 = 0, offset: UInt16 = 0, buffers: UInt16 = 0
    ) -> [UInt8] {
        [flags, type] + [headers, segment, start, offset, buffers].flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
    }

    /// Sends `bytes`, virtio header first, and waits until the device is done with them.
    func send(_ bytes: [UInt8], split: Int = .max, layout: FakeQueue.Layout = .direct) throws {
        let mark = driver.arena.next
        defer { driver.arena.release(to: mark) }
        let head = try transmit.add(FakeQueue.split(driver.place(bytes), bytes.count, by: split, writable: false), layout)
        transmit.kick()
        #expect(try transmit.waitForUsed() == FakeQueue.Used(head: head, written: 0))
    }

    /// What came out of the cable, virtio header first; nil if nothing does.
    func takeFromCable(milliseconds: Int32 = 5_000) throws -> [UInt8]? {
        guard cable.isReady(for: .readable, milliseconds: milliseconds) else { return nil }
        return try cable.receive(limit: 1 << 17).bytes
    }

    /// Offers `count` buffers of `size` bytes.
    @discardableResult
    func offer(_ count: Int, of size: Int) throws -> [UInt16: UInt64] {
        var places: [UInt16: UInt64] = [:]
        for _ in 0..<count {
            let place = try driver.arena.allocate(size)
            places[try receive.add([.init(place, size, writable: true)])] = place
        }
        receive.kick()
        return places
    }
}
