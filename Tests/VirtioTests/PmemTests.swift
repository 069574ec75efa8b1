import FakeDriver
import Testing
import Virtio

@Suite("pmem device")
struct PmemTests {
    private let device = PmemDevice(address: 0x1_2340_0000, count: 4 << 20)
    private let driver: FakeDriver

    init() throws {
        driver = try FakeDriver(device)
        try driver.start()
    }

    @Test("the configuration names the range")
    func configuration() {
        #expect(driver.read(.deviceID) == 27)
        #expect(driver.readConfiguration(0, count: 8) == 0x1_2340_0000)
        #expect(driver.readConfiguration(8, count: 8) == 4 << 20)
        #expect(device.state == PmemState(address: 0x1_2340_0000, count: 4 << 20))
    }

    @Test("a flush is answered at once", arguments: FakeQueue.Layout.allCases)
    func flush(layout: FakeQueue.Layout) throws {
        #expect(try driver.exchange([0, 0, 0, 0], answer: 4, layout: layout) == [0, 0, 0, 0])
        #expect(device.metrics.flushes.value == 1)
    }

    @Test("an unknown or short request is an I/O error, and one without room for an answer gets none")
    func badRequests() throws {
        #expect(try driver.exchange([1, 0, 0, 0], answer: 4) == [1, 0, 0, 0])
        #expect(try driver.exchange([0], answer: 4) == [1, 0, 0, 0])
        #expect(try driver.exchange([0, 0, 0, 0], answer: 3) == [])
        #expect(try driver.exchange([], answer: 4) == [1, 0, 0, 0])
        #expect(device.metrics.badRequests.value == 3)
        #expect(!driver.needsReset)
    }
}
