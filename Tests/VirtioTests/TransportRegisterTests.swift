import FUSE
import FakeDriver
import GuestMemory
import Linux
import Testing
import Virtio

@Suite("registers of the mmio transport")
struct TransportRegisterTests {
    private func makeDriver(_ device: ManualDevice = ManualDevice()) throws -> FakeDriver {
        try FakeDriver(device, memorySize: 1 << 20)
    }

    @Test("the identification registers read as virtio-mmio version 2")
    func identification() throws {
        let driver = try makeDriver()
        #expect(driver.read(.magicValue) == 0x7472_6976)
        #expect(driver.read(.version) == 2)
        #expect(driver.read(.deviceID) == 42)
        #expect(driver.read(.configurationGeneration) == 0)
    }

    @Test("accesses of odd sizes and at holes read zero and change nothing")
    func oddAccesses() throws {
        let driver = try makeDriver()
        let transport = driver.transport
        for count in [0, 1, 2, 3, 5, 8, 16, -1, .max] {
            for offset in stride(from: 0, to: 0x100, by: 1) as StrideTo<UInt64> {
                #expect(transport.read(offset, count: count) == 0)
                transport.write(offset, .max, count: count)
            }
        }
        for offset in 0..<UInt64(0x100) where offset % 4 != 0 {
            #expect(transport.read(offset, count: 4) == 0)
            transport.write(offset, .max, count: 4)
        }
        #expect(driver.status == 0)
        try driver.start()
    }

    @Test("registers only one side may touch ignore the other")
    func oneWayRegisters() throws {
        let driver = try makeDriver()
        for register in [FakeDriver.Register.magicValue, .version, .deviceID, .vendorID, .deviceFeatures, .queueSizeMax, .interruptStatus] {
            let before = driver.read(register)
            driver.write(register, ~before)
            #expect(driver.read(register) == before)
        }
        for register in [FakeDriver.Register.driverFeatures, .queueSize, .queueNotify, .queueDescriptorLow, .interruptAcknowledge] {
            #expect(driver.read(register) == 0)
        }
    }

    @Test("a shared memory region that does not exist has length and base of all ones")
    func sharedMemory() throws {
        let transport = try makeDriver().transport
        for offset in [0x0b0, 0x0b4, 0x0b8, 0x0bc] as [UInt64] { #expect(transport.read(offset, count: 4) == 0xffff_ffff) }
    }

    @Test("a shared memory region is where the machine put it; there is only region 0")
    func sharedMemoryRegion() throws {
        let device = FileSystemDevice(tag: "x", server: try FileServer(shares: ShareTable(window: MappingWindow(count: 8192))))
        let transport = try MMIOTransport(device, memory: GuestMemory.allocate([(0, 1 << 20)]).memory, sharedMemoryAddress: 0x1_2000_0000)
        func region(_ selector: UInt64) -> [UInt64] {
            transport.write(0x0ac, selector, count: 4)
            return [0x0b0, 0x0b4, 0x0b8, 0x0bc].map { transport.read($0, count: 4) }
        }
        #expect(region(0) == [8192, 0, 0x2000_0000, 1])
        #expect(region(1) == [0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff])
    }

    // MARK: Features

    @Test("features are offered in two words, and further words are empty")
    func features() throws {
        let driver = try makeDriver()
        #expect(driver.offeredFeatures() == 0b11 << 40 | 1 | Feature.transport)
        for selector in [2, 3, 0x8000_0000, .max] as [UInt32] {
            driver.write(.deviceFeaturesSelector, selector)
            #expect(driver.read(.deviceFeatures) == 0)
        }
    }

    @Test("features chosen before DRIVER or after FEATURES_OK do not count")
    func featureWindow() throws {
        let device = ManualDevice()
        let driver = try makeDriver(device)
        driver.write(.driverFeaturesSelector, 0)
        driver.write(.driverFeatures, 1 << 7)
        driver.status = 1
        driver.write(.driverFeatures, 1 << 7)
        driver.status = 3
        driver.write(.driverFeatures, 1)
        driver.write(.driverFeaturesSelector, 1)
        driver.write(.driverFeatures, 1)
        driver.write(.driverFeaturesSelector, 7)
        driver.write(.driverFeatures, 0xffff_ffff)
        driver.status = 11
        driver.write(.driverFeaturesSelector, 0)
        driver.write(.driverFeatures, 0xffff_ffff)
        driver.status = 15
        driver.write(.driverFeatures, 0xffff_ffff)
        #expect(driver.status == 15)
        #expect(device.activation?.features == Feature.version1 | 1)
    }

    // MARK: Configuration space

    @Test("configuration reads of any offset and width give the bytes there are and zeroes after them")
    func configuration() throws {
        let driver = try makeDriver()
        let bytes = ManualDevice().configuration
        for offset in 0..<12 {
            for count in 0...8 {
                let expected = (0..<count).reduce(UInt64(0)) { value, index in
                    value | UInt64(offset + index < bytes.count ? bytes[offset + index] : 0) << UInt64(8 * index)
                }
                #expect(driver.readConfiguration(offset, count: count) == expected)
            }
        }
        #expect(driver.readConfiguration(0xeff, count: 4) == 0)
        #expect(driver.transport.read(.max, count: 8) == 0)
        #expect(driver.transport.read(0x100, count: .max) == 0x77_6655_4433_2211)
        #expect(driver.transport.read(0x100, count: -1) == 0)
    }

    @Test("configuration writes reach the device as bytes; absurd widths do not")
    func configurationWrites() throws {
        let device = ManualDevice()
        let transport = try makeDriver(device).transport
        transport.write(0x102, 0x0403_0201, count: 4)
        transport.write(0x100, 7, count: 1)
        for count in [0, 9, -1, .max] { transport.write(0x100, 7, count: count) }
        transport.write(.max, 7, count: 1)
        #expect(device.calls.configurationWrites.prefix(2) == ["[1, 2, 3, 4]@2", "[7]@0"])
        #expect(device.calls.configurationWrites.count == 2)
    }

    // MARK: Queues

    @Test("queues beyond the last have no size and take no configuration")
    func missingQueue() throws {
        let driver = try makeDriver()
        try driver.negotiate(features: Feature.version1)
        for selector in [2, 0x7fff_ffff, .max] as [UInt32] {
            driver.write(.queueSelector, selector)
            #expect(driver.read(.queueSizeMax) == 0)
            driver.write(.queueSize, 16)
            driver.write(.queueReady, 1)
            #expect(driver.read(.queueReady) == 0)
        }
    }

    @Test("a queue is not made ready with a size of zero, above the maximum or no power of two", arguments: [0, 3, 17, 32, 0xffff, 0x10000, 0x10010])
    func badSize(size: UInt32) throws {
        let driver = try makeDriver()
        try driver.negotiate(features: Feature.version1)
        driver.write(.queueSelector, 1)
        driver.write(.queueSize, size)
        driver.write(.queueReady, 1)
        // 0x10010 is 16 in the register's 16 bits.
        #expect(driver.read(.queueReady) == (size == 0x10010 ? 1 : 0))
    }

    @Test("a queue can be set up between FEATURES_OK and DRIVER_OK only")
    func queueWindow() throws {
        let device = ManualDevice()
        let driver = try makeDriver(device)
        for status in [1, 3] as [UInt8] {
            driver.status = status
            driver.write(.queueSelector, 0)
            driver.write(.queueSize, 16)
            driver.write(.queueReady, 1)
            #expect(driver.read(.queueReady) == 0)
        }
        driver.write(.driverFeaturesSelector, 1)
        driver.write(.driverFeatures, 1)
        driver.status = 11
        driver.status = 15
        driver.write(.queueSize, 16)
        driver.write(.queueReady, 1)
        #expect(driver.read(.queueReady) == 0)
        #expect(device.activation?.queues[0] == nil)
    }

    @Test("nothing moves a queue once it is ready, and nothing at all after DRIVER_OK")
    func frozenQueue() throws {
        let device = ManualDevice()
        let driver = try makeDriver(device)
        try driver.negotiate(features: Feature.version1)
        try driver.configureQueues(size: 16)
        let rings = driver.queues[0]
        let expected = QueueConfiguration(
            size: 16, descriptorTable: rings.descriptorTable, availableRing: rings.availableRing, usedRing: rings.usedRing)

        func scribble() {
            driver.write(.queueSelector, 0)
            driver.write(.queueSize, 4)
            for register in [FakeDriver.Register.queueDescriptorLow, .queueDescriptorHigh, .queueDriverLow, .queueDriverHigh,
                .queueDeviceLow, .queueDeviceHigh] {
                driver.write(register, 0x4000)
            }
        }
        scribble()
        try driver.advance(FakeDriver.Status.driverOK)
        #expect(try device.queue().configuration == expected)
        scribble()
        driver.write(.queueReady, 0)
        #expect(driver.read(.queueReady) == 1)
        #expect(try device.queue().configuration == expected)
    }

    @Test("a queue may be taken back before DRIVER_OK and set up anew")
    func unreadyQueue() throws {
        let device = ManualDevice()
        let driver = try makeDriver(device)
        try driver.negotiate(features: Feature.version1)
        try driver.configureQueues(size: 16)
        driver.write(.queueSelector, 0)
        driver.write(.queueReady, 0)
        #expect(driver.read(.queueReady) == 0)
        driver.write(.queueSize, 8)
        driver.write(.queueReady, 1)
        try driver.advance(FakeDriver.Status.driverOK)
        #expect(try device.queue().configuration.size == 8)
    }

    @Test(
        "rings outside guest memory, across its hole, misaligned or at the top of the address space refuse DRIVER_OK",
        arguments: [0x10_0000, 0xf_fff0, 0x8, 0x8000_0000, 0xffff_ffff_ffff_fff0, 0xffff_ffff_ffff_ffff] as [UInt64])
    func badRing(address: UInt64) throws {
        for (low, high) in [
            (FakeDriver.Register.queueDescriptorLow, FakeDriver.Register.queueDescriptorHigh),
            (.queueDriverLow, .queueDriverHigh), (.queueDeviceLow, .queueDeviceHigh),
        ] {
            // 8 is a legal address for all but descriptors, which need 16.
            if address == 8, low != .queueDescriptorLow { continue }
            let device = ManualDevice()
            let driver = try makeDriver(device)
            try driver.negotiate(features: Feature.version1)
            try driver.configureQueues(size: 16)
            driver.write(.queueSelector, 0)
            driver.write(.queueReady, 0)
            driver.write(low, UInt32(truncatingIfNeeded: address))
            driver.write(high, UInt32(truncatingIfNeeded: address >> 32))
            driver.write(.queueReady, 1)
            #expect(throws: FakeDriverError.self) { try driver.advance(FakeDriver.Status.driverOK) }
            #expect(driver.needsReset)
            #expect(device.calls.activations == 0)
        }
    }

    @Test("notifications of queues that do not exist are ignored", arguments: [2, 0x7fff_ffff, 0xffff_ffff] as [UInt32])
    func badNotification(number: UInt32) throws {
        let driver = try makeDriver()
        try driver.start()
        driver.write(.queueNotify, number)
        #expect(driver.transport.notifications.allSatisfy { $0.drain() == 0 })
        driver.write(.queueNotify, 1)
        #expect(driver.transport.notifications[1].drain() == 1)
    }

    // MARK: Interrupts

    @Test("interrupt causes stay until they are acknowledged, each alone")
    func interruptStatus() throws {
        let driver = try makeDriver()
        let interrupt = driver.transport.interrupt
        interrupt.signalQueue()
        interrupt.signalConfiguration()
        #expect(driver.read(.interruptStatus) == 3)
        driver.write(.interruptAcknowledge, 1)
        #expect(driver.read(.interruptStatus) == 2)
        driver.write(.interruptAcknowledge, 0xffff_fffd)
        #expect(driver.read(.interruptStatus) == 2)
        driver.write(.interruptAcknowledge, 2)
        #expect(driver.read(.interruptStatus) == 0)
        #expect(interrupt.count == 2)
    }

    @Test("a broken device shows NEEDS_RESET until it is reset")
    func broken() throws {
        let driver = try makeDriver()
        try driver.start()
        driver.transport.interrupt.signalBroken()
        #expect(driver.status == 15 | FakeDriver.Status.needsReset)
        driver.status = driver.status
        #expect(driver.needsReset)
        driver.status = 0
        #expect(driver.status == 0)
    }
}
