import Glibc
import GuestMemory
import Linux
import Virtio

/// A virtio driver without a guest: it owns guest memory, brings a device up through its mmio
/// registers as Linux does, and hands it real descriptor chains. It believes in interrupts: waiting
/// looks at a ring only before it sleeps and after an interrupt, so a lost one fails the test.
///
/// For one thread at a time.
public final class FakeDriver {
    /// virtio 1.2, 4.2.2, table 4.1.
    public enum Register: UInt64 {
        case magicValue = 0x000
        case version = 0x004
        case deviceID = 0x008
        case vendorID = 0x00c
        case deviceFeatures = 0x010
        case deviceFeaturesSelector = 0x014
        case driverFeatures = 0x020
        case driverFeaturesSelector = 0x024
        case queueSelector = 0x030
        case queueSizeMax = 0x034
        case queueSize = 0x038
        case queueReady = 0x044
        case queueNotify = 0x050
        case interruptStatus = 0x060
        case interruptAcknowledge = 0x064
        case status = 0x070
        case queueDescriptorLow = 0x080
        case queueDescriptorHigh = 0x084
        case queueDriverLow = 0x090
        case queueDriverHigh = 0x094
        case queueDeviceLow = 0x0a0
        case queueDeviceHigh = 0x0a4
        case configurationGeneration = 0x0fc
        case configuration = 0x100
    }

    /// virtio 1.2, 2.1.
    public enum Status {
        public static let acknowledge: UInt8 = 1
        public static let driver: UInt8 = 2
        public static let driverOK: UInt8 = 4
        public static let featuresOK: UInt8 = 8
        public static let needsReset: UInt8 = 64
        public static let failed: UInt8 = 128
    }

    /// Guest-physical start of a second region, past a hole above the first. The rings lie here.
    public static let highMemory: UInt64 = 0x1_0000_0000
    public static let highMemorySize = 8 << 20

    public let memory: GuestMemory
    /// The file behind `memory`.
    public let memoryFile: Descriptor
    public let transport: MMIOTransport
    /// For buffers: `allocate` and, after a synchronous request, `release`.
    public var arena: GuestArena
    /// For rings and indirect tables, which outlive requests.
    var structures: GuestArena
    /// As negotiated by ``start(features:queueSize:)``.
    public private(set) var features: UInt64 = 0
    public private(set) var queues: [FakeQueue] = []
    /// Configuration change interrupts seen while waiting.
    public private(set) var configurationChanges = 0

    /// - Parameter memorySize: bytes of the region at guest address 0.
    public init(memorySize: Int = 16 << 20, _ makeDevice: (GuestMemory) throws -> any VirtioDevice) throws {
        (memory, memoryFile) = try GuestMemory.allocate([(0, memorySize), (Self.highMemory, Self.highMemorySize)])
        transport = try MMIOTransport(makeDevice(memory), memory: memory)
        arena = GuestArena(start: 0x1000, end: UInt64(memorySize))
        structures = Self.emptyStructures
    }

    public convenience init(_ device: any VirtioDevice, memorySize: Int = 16 << 20) throws {
        try self.init(memorySize: memorySize) { _ in device }
    }

    private static var emptyStructures: GuestArena { GuestArena(start: highMemory, end: highMemory + UInt64(highMemorySize)) }

    deinit {
        transport.shutdown()
    }

    // MARK: Registers

    public func read(_ register: Register) -> UInt32 {
        UInt32(truncatingIfNeeded: transport.read(register.rawValue, count: 4))
    }

    public func write(_ register: Register, _ value: UInt32) {
        transport.write(register.rawValue, UInt64(value), count: 4)
    }

    public var status: UInt8 {
        get { UInt8(truncatingIfNeeded: read(.status)) }
        set { write(.status, UInt32(newValue)) }
    }

    /// The device asked for a reset: it met something it cannot go on from.
    public var needsReset: Bool { status & Status.needsReset != 0 }

    public func readConfiguration(_ offset: Int, count: Int) -> UInt64 {
        transport.read(Register.configuration.rawValue + UInt64(offset), count: count)
    }

    // MARK: Initialisation (virtio 1.2, 3.1.1 and 4.2.3.1)

    /// The whole initialisation from reset to DRIVER_OK.
    ///
    /// - Parameters:
    ///   - wanted: feature bits to accept where the device offers them.
    ///   - queueSize: descriptors a queue, at most what the device allows.
    public func start(features wanted: UInt64 = .max, queueSize: UInt16 = 256) throws(FakeDriverError) {
        try negotiate(features: offeredFeatures() & wanted)
        try configureQueues(size: queueSize)
        try advance(Status.driverOK)
    }

    /// Everything up to FEATURES_OK.
    public func negotiate(features chosen: UInt64) throws(FakeDriverError) {
        reset()
        guard read(.magicValue) == 0x7472_6976, read(.version) == 2, read(.deviceID) != 0 else { throw .notVirtio }
        try advance(Status.acknowledge)
        try advance(Status.driver)
        features = chosen
        for selector in 0..<2 as Range<UInt32> {
            write(.driverFeaturesSelector, selector)
            write(.driverFeatures, UInt32(truncatingIfNeeded: chosen >> (32 * UInt64(selector))))
        }
        try advance(Status.featuresOK)
    }

    /// Gives every queue its rings.
    public func configureQueues(size: UInt16 = 256) throws(FakeDriverError) {
        for index in transport.notifications.indices {
            write(.queueSelector, UInt32(index))
            let queue = try FakeQueue(self, index: index, size: min(size, UInt16(truncatingIfNeeded: read(.queueSizeMax))))
            write(.queueSize, UInt32(queue.size))
            writeAddress(.queueDescriptorLow, .queueDescriptorHigh, queue.descriptorTable)
            writeAddress(.queueDriverLow, .queueDriverHigh, queue.availableRing)
            writeAddress(.queueDeviceLow, .queueDeviceHigh, queue.usedRing)
            write(.queueReady, 1)
            guard read(.queueReady) == 1 else { throw .queueRefused(index) }
            queues.append(queue)
        }
    }

    public func reset() {
        status = 0
        queues = []
        features = 0
        structures = Self.emptyStructures
    }

    /// Sets one more status bit and checks that the device shows it.
    public func advance(_ bit: UInt8) throws(FakeDriverError) {
        let wanted = status | bit
        status = wanted
        guard status == wanted else { throw .statusRefused(wanted: wanted, read: status) }
    }

    public func offeredFeatures() -> UInt64 {
        var offered: UInt64 = 0
        for selector in 0..<2 as Range<UInt32> {
            write(.deviceFeaturesSelector, selector)
            offered |= UInt64(read(.deviceFeatures)) << (32 * UInt64(selector))
        }
        return offered
    }

    private func writeAddress(_ low: Register, _ high: Register, _ address: UInt64) {
        write(low, UInt32(truncatingIfNeeded: address))
        write(high, UInt32(truncatingIfNeeded: address >> 32))
    }

    // MARK: Interrupts

    /// Waits for an interrupt and acknowledges it: whether one came in time.
    public func waitForInterrupt(milliseconds: Int) -> Bool {
        var poller = pollfd(fd: transport.interrupt.event.descriptor.raw, events: Int16(POLLIN), revents: 0)
        guard poll(&poller, 1, Int32(clamping: max(0, milliseconds))) == 1 else { return false }
        transport.interrupt.event.drain()
        let pending = read(.interruptStatus)
        write(.interruptAcknowledge, pending)
        if pending & 2 != 0 { configurationChanges += 1 }
        return true
    }

    /// Waits until `condition` holds, looking again after each interrupt.
    public func wait(_ what: String, milliseconds: Int = 10_000, until condition: () throws -> Bool) throws {
        let deadline = ContinuousClock.now + .milliseconds(milliseconds)
        while try !condition() {
            let left = (deadline - .now) / .milliseconds(1)
            guard left > 0, waitForInterrupt(milliseconds: Int(left) + 1) else {
                if try condition() { return }
                throw FakeDriverError.timedOut(what)
            }
        }
    }

    // MARK: Requests

    /// One request from start to end: sends `request`, offers room for `answer` bytes, and returns what
    /// the device wrote there.
    ///
    /// - Parameter split: the longest segment of the chain, to spread it over many descriptors.
    public func exchange(
        _ request: [UInt8], answer: Int, queue index: Int = 0, layout: FakeQueue.Layout = .direct, split: Int = .max
    ) throws -> [UInt8] {
        let mark = arena.next
        defer { arena.release(to: mark) }
        let readable = try place(request)
        let writable = try arena.allocate(answer)
        let queue = queues[index]
        let segments = FakeQueue.split(readable, request.count, by: split, writable: false)
            + FakeQueue.split(writable, answer, by: split, writable: true)
        let head = try queue.add(segments, layout)
        queue.kick()
        let used = try queue.waitForUsed()
        guard used.head == head else { throw FakeDriverError.unexpectedUsed(UInt32(used.head)) }
        guard used.written <= answer else { throw FakeDriverError.wroteTooMuch(used.written, offered: answer) }
        return try bytes(writable, count: Int(used.written))
    }

    /// Allocates guest memory and copies `bytes` there.
    public func place(_ bytes: [UInt8]) throws -> UInt64 {
        let address = try arena.allocate(bytes.count)
        try memory.slice(address, UInt64(bytes.count)).write(bytes)
        return address
    }

    public func bytes(_ address: UInt64, count: Int) throws -> [UInt8] {
        try memory.slice(address, UInt64(count)).bytes(count: count)
    }
}
