import FakeDriver
import Linux
import Testing
import Virtio

@Suite("memory device")
struct MemoryTests {
    private static let address: UInt64 = 0x2_0000_0000
    private static let block = MemoryBlocks.size
    private let device: MemoryDevice
    private let driver: FakeDriver

    init() throws {
        device = try MemoryDevice(address: Self.address, regionSize: 1 << 36, requested: 130 << 20)
        driver = try FakeDriver(device)
        try driver.start()
    }

    private enum Request: UInt16 { case plug, unplug, unplugAll, state }

    private func bytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
        (0..<MemoryLayout<Value>.size).map { UInt8(truncatingIfNeeded: value >> Value(8 * $0)) }
    }

    /// The answer's type, and its state.
    private func ask(_ request: UInt16, _ address: UInt64 = 0, _ count: UInt16 = 0) throws -> [UInt8] {
        let answer = try driver.exchange(bytes(request) + [0, 0, 0, 0, 0, 0] + bytes(address) + bytes(count) + [0, 0, 0, 0, 0, 0], answer: 10)
        return [answer[0], answer[8]]
    }

    private func ask(_ request: Request, _ block: UInt64 = 0, _ count: UInt16 = 0) throws -> [UInt8] {
        try ask(request.rawValue, Self.address + block * Self.block, count)
    }

    @Test("the configuration has what is asked for, and what is plugged in; a driver from a snapshot is told to look")
    func configuration() throws {
        #expect(driver.read(.deviceID) == 24)
        #expect((0..<7).map { driver.readConfiguration($0 * 8, count: 8) } == [Self.block, 0, Self.address, 1 << 36, 256 << 20, 0, 130 << 20])
        #expect(driver.read(.interruptStatus) & 2 != 0)
        #expect(try ask(.plug, 0, 64) == [0, 0])
        #expect(driver.readConfiguration(40, count: 8) == 128 << 20)
        #expect(device.plugged == 128 << 20)
    }

    @Test("blocks are plugged in once, up to what is asked for, and out again")
    func plugging() throws {
        #expect(!device.waitUntilComplete(atMost: 0))
        #expect(try ask(.state, 0, 64) == [0, 1])
        #expect(try ask(.plug, 0, 64) == [0, 0])
        #expect(try ask(.plug, 63, 2) == [3, 0])
        #expect(try ask(.plug, 64, 2) == [1, 0])
        #expect(try ask(.state, 0, 65) == [0, 2])
        #expect(try ask(.plug, 64, 1) == [0, 0])
        #expect(device.waitUntilComplete(atMost: 0))
        #expect(try ask(.plug, 65, 1) == [1, 0])
        #expect(try ask(.unplug, 10, 2) == [0, 0])
        #expect(try ask(.unplug, 10, 1) == [3, 0])
        #expect(try ask(.state, 10, 2) == [0, 1])
        #expect(device.plugged == 126 << 20)
        #expect(try ask(.unplugAll) == [0, 0])
        #expect(device.plugged == 0)
    }

    @Test("what is no block of the region is an error, and so is any other request")
    func hostile() throws {
        for (address, count) in [
            (Self.address + 1, 1), (Self.address - Self.block, 1), (0, 1), (Self.address, 0), (Self.address + 128 * Self.block, 1),
            (Self.address + 127 * Self.block, 2), (Self.address, 129), (.max, 1), (Self.address, .max), (UInt64.max - Self.block + 1, .max),
        ] as [(UInt64, UInt16)] {
            for request in [Request.plug, .unplug, .state] { #expect(try ask(request.rawValue, address, count) == [3, 0], "\(address) \(count)") }
        }
        #expect(try ask(9, Self.address, 1) == [3, 0])
        #expect(try driver.exchange([0, 0], answer: 10).first == 3)
        #expect(try driver.exchange([], answer: 10).first == 3)
        #expect(try driver.exchange([2, 0, 0, 0, 0, 0, 0, 0], answer: 4) == [])
        #expect(device.plugged == 0)
        #expect(!driver.needsReset)
    }

    @Test("a state is taken by a device that is asked for the same, one of nothing by any, and others are refused")
    func snapshots() throws {
        _ = try ask(.plug, 3, 2)
        let saved = device.savedState()
        let same = try MemoryDevice(address: Self.address, regionSize: 1 << 36, requested: 130 << 20)
        try same.restoreState(saved)
        #expect(same.plugged == 4 << 20)
        #expect(same.savedState() == saved)
        let other = try MemoryDevice(address: Self.address, regionSize: 1 << 36, requested: 256 << 20)
        #expect(throws: SnapshotError.self) { try other.restoreState(saved) }
        let none = try MemoryDevice(address: Self.address, regionSize: 1 << 36, requested: 0)
        #expect(none.waitUntilComplete(atMost: 0))
        try other.restoreState(none.savedState())
        #expect(throws: SnapshotError.self) { try none.restoreState(saved) }
        for count in 0..<saved.count { #expect(throws: SnapshotError.self) { try same.restoreState(Array(saved.prefix(count))) } }
        var bad = saved
        bad[12] = 2
        #expect(throws: SnapshotError.self) { try same.restoreState(bad) }
    }
}
