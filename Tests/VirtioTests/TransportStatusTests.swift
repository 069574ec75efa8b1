import FakeDriver
import Linux
import Testing
import Virtio

@Suite("status machine of the mmio transport")
struct TransportStatusTests {
    private static let acknowledge: UInt8 = 1
    private static let driver: UInt8 = 3
    private static let featuresOK: UInt8 = 11
    private static let driverOK: UInt8 = 15
    private static let needsReset: UInt8 = 64
    private static let failed: UInt8 = 128

    /// Every status a driver can reach, and the one further step each allows. FAILED and a reset are
    /// always allowed and nothing else is.
    private static let nextStep: [UInt8: UInt8] = [0: acknowledge, acknowledge: driver, driver: featuresOK, featuresOK: driverOK]
    private static let reachable: [UInt8] = [0, acknowledge, driver, featuresOK, driverOK].flatMap { [$0, $0 | failed] }

    /// A driver whose device has the status `status`, reached by legal steps.
    private func makeDriver(at status: UInt8, _ device: ManualDevice = ManualDevice()) throws -> FakeDriver {
        let driver = try FakeDriver(device, memorySize: 1 << 20)
        var current: UInt8 = 0
        while current != status & ~Self.failed {
            let next = try #require(Self.nextStep[current])
            driver.status = next
            if next == Self.driver {
                driver.write(.driverFeaturesSelector, 1)
                driver.write(.driverFeatures, 1)
            }
            current = next
        }
        if status & Self.failed != 0 { driver.status = status }
        try #require(driver.status == status)
        return driver
    }

    @Test("of the 256 values a driver can write, only the next step, FAILED and a reset change the status", arguments: reachable)
    func edges(from status: UInt8) throws {
        for written in UInt8.min...UInt8.max {
            let device = ManualDevice()
            let driver = try makeDriver(at: status, device)
            let before = device.calls
            driver.status = written

            // NEEDS_RESET is not the driver's to write and is ignored in what it writes back.
            let meant = written & ~Self.needsReset
            let step = status & Self.failed == 0 ? Self.nextStep[status] : nil
            let allowed = meant == step || meant == status | Self.failed
            let expected = written == 0 ? 0 : allowed ? meant : status
            #expect(driver.status == expected, "wrote \(written) at \(status)")

            let activated = expected == Self.driverOK && status != Self.driverOK
            let wasReset = written == 0 && status & 4 != 0
            #expect(device.calls.activations - before.activations == (activated ? 1 : 0))
            #expect(device.calls.resets - before.resets == (wasReset ? 1 : 0))
        }
    }

    @Test("status values above a byte do not set bits")
    func wideStatus() throws {
        let driver = try makeDriver(at: 0)
        driver.write(.status, 0xffff_ff01)
        #expect(driver.read(.status) == 1)
    }

    @Test("a reset while active stops the device once, and the driver can start again")
    func resetWhileActive() throws {
        let device = ManualDevice()
        let driver = try FakeDriver(device, memorySize: 1 << 20)
        for round in 1...3 {
            try driver.start()
            #expect(device.calls.activations == round)
            driver.status = 0
            driver.status = 0
            #expect(driver.status == 0)
            #expect(device.calls.resets == round)
            #expect(driver.read(.interruptStatus) == 0)
            for index in 0..<2 as Range<UInt32> {
                driver.write(.queueSelector, index)
                #expect(driver.read(.queueReady) == 0)
            }
        }
    }

    @Test("FEATURES_OK stays clear without VERSION_1 or with a feature that was not offered", arguments: [0, 1, 1 << 32 | 1 << 7, .max] as [UInt64])
    func refusedFeatures(chosen: UInt64) throws {
        let driver = try FakeDriver(ManualDevice(), memorySize: 1 << 20)
        #expect(throws: FakeDriverError.statusRefused(wanted: 11, read: 3)) { try driver.negotiate(features: chosen) }
        // The driver may choose again.
        driver.write(.driverFeaturesSelector, 0)
        driver.write(.driverFeatures, 0)
        driver.write(.driverFeaturesSelector, 1)
        driver.write(.driverFeatures, 1)
        try driver.advance(FakeDriver.Status.featuresOK)
    }

    @Test("an activation that fails leaves DRIVER_OK clear and asks for a reset")
    func failedActivation() throws {
        let device = ManualDevice()
        device.failActivation(SystemError("start thread", .noMemory))
        let driver = try FakeDriver(device, memorySize: 1 << 20)
        #expect(throws: FakeDriverError.self) { try driver.start() }
        #expect(driver.status == Self.featuresOK | Self.needsReset)
        #expect(driver.waitForInterrupt(milliseconds: 0))
        #expect(driver.configurationChanges == 1)

        device.failActivation(nil)
        try driver.start()
        #expect(driver.status == Self.driverOK)
    }

    @Test("a device left without queues is activated with none")
    func unusedQueues() throws {
        let device = ManualDevice()
        let driver = try FakeDriver(device, memorySize: 1 << 20)
        try driver.negotiate(features: Feature.version1)
        try driver.advance(FakeDriver.Status.driverOK)
        let activation = try #require(device.activation)
        #expect(activation.queues.count == 2)
        #expect(activation.queues.allSatisfy { $0 == nil })
        #expect(activation.features == Feature.version1)
    }
}
