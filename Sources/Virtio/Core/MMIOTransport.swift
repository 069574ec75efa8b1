import GuestMemory
import Linux
import Synchronization

/// A device behind virtio-mmio version 2 registers (virtio 1.2, 4.2).
///
/// Registers are read and written by vCPU threads under one lock. An access of odd size or at a hole
/// reads as zero and writes nothing: a guest can break its device, never the VMM.
public final class MMIOTransport: Sendable {
    /// Bytes of address space.
    public static let length: UInt64 = 0x1000
    /// Offset of QueueNotify, where KVM's ioeventfds listen.
    public static let queueNotifyOffset: UInt64 = 0x50
    /// Offset of Status: a write may start or stop the device's threads.
    public static let statusOffset: UInt64 = 0x70
    static let configurationOffset: UInt64 = 0x100

    public let device: any VirtioDevice
    public let interrupt: Interrupt
    /// One a queue, signalled by KVM at a write of the queue's number to QueueNotify.
    public let notifications: [EventDescriptor]

    private let memory: GuestMemory
    /// Where the machine shows the device's shared memory.
    private let sharedMemoryAddress: UInt64?
    private let registers: Mutex<Registers>

    /// - Parameter sharedMemoryAddress: guest-physical address of ``VirtioDevice/sharedMemory``.
    public init(_ device: any VirtioDevice, memory: GuestMemory, sharedMemoryAddress: UInt64? = nil) throws(SystemError) {
        self.device = device
        self.memory = memory
        self.sharedMemoryAddress = sharedMemoryAddress
        interrupt = try Interrupt()
        var notifications: [EventDescriptor] = []
        for _ in device.queueSizes { notifications.append(try EventDescriptor()) }
        self.notifications = notifications
        registers = Mutex(Registers(queueCount: notifications.count))
    }

    /// A register read of 4 bytes, or a configuration read of 1, 2, 4 or 8.
    public func read(_ offset: UInt64, count: Int) -> UInt64 {
        guard offset < Self.length else { return 0 }
        if offset >= Self.configurationOffset { return readConfiguration(Int(offset - Self.configurationOffset), count) }
        guard count == 4 else { return 0 }
        return registers.withLock { UInt64(readRegister(offset, $0)) }
    }

    /// A register write of 4 bytes, or a configuration write.
    public func write(_ offset: UInt64, _ value: UInt64, count: Int) {
        guard offset < Self.length else { return }
        if offset >= Self.configurationOffset { return writeConfiguration(Int(offset - Self.configurationOffset), value, count) }
        guard count == 4 else { return }
        registers.withLock { writeRegister(offset, UInt32(truncatingIfNeeded: value), &$0) }
    }

    /// Stops the device, as a driver's reset would; for tearing the machine down.
    public func shutdown() {
        registers.withLock { reset(&$0) }
    }

    // MARK: Registers

    private func readRegister(_ offset: UInt64, _ state: Registers) -> UInt32 {
        switch offset {
        case 0x000: 0x7472_6976  // "virt"
        case 0x004: 2
        case 0x008: device.isPlugged ? device.deviceID : 0
        case 0x00c: 0x6d76_6d6d  // "mmvm", vendor
        case 0x010: offeredFeatures(state.deviceFeaturesSelector)
        case 0x034: UInt32(state.selectedSize(device.queueSizes))
        case 0x044: state.selected.map { $0.ready ? 1 : 0 } ?? 0
        case 0x060: interrupt.status
        case 0x070: UInt32(state.status.rawValue | (interrupt.isBroken ? DeviceStatus.needsReset.rawValue : 0))
        case 0x0b0: UInt32(truncatingIfNeeded: sharedMemory(state).count)
        case 0x0b4: UInt32(truncatingIfNeeded: sharedMemory(state).count >> 32)
        case 0x0b8: UInt32(truncatingIfNeeded: sharedMemory(state).address)
        case 0x0bc: UInt32(truncatingIfNeeded: sharedMemory(state).address >> 32)
        case 0x0fc: state.configurationGeneration
        default: 0
        }
    }

    private func writeRegister(_ offset: UInt64, _ value: UInt32, _ state: inout Registers) {
        switch offset {
        case 0x014: state.deviceFeaturesSelector = value
        case 0x020: state.setDriverFeatures(value)
        case 0x024: state.driverFeaturesSelector = value
        case 0x030: state.queueSelector = value
        case 0x038: state.configure { $0.size = UInt16(truncatingIfNeeded: value) }
        case 0x044: state.setReady(value == 1, sizes: device.queueSizes)
        // KVM answers notifications itself; this is for a host without ioeventfd and for tests.
        case 0x050: if Int(value) < notifications.count { notifications[Int(value)].signal() }
        case 0x064: interrupt.acknowledge(value)
        case 0x070: writeStatus(DeviceStatus(rawValue: UInt8(truncatingIfNeeded: value)), &state)
        case 0x080: state.configure { $0.descriptorTable.setLow(value) }
        case 0x084: state.configure { $0.descriptorTable.setHigh(value) }
        case 0x090: state.configure { $0.availableRing.setLow(value) }
        case 0x094: state.configure { $0.availableRing.setHigh(value) }
        case 0x0a0: state.configure { $0.usedRing.setLow(value) }
        case 0x0a4: state.configure { $0.usedRing.setHigh(value) }
        case 0x0ac: state.sharedMemorySelector = value
        default: break
        }
    }

    /// Length and address of the region selected. One that does not exist reads as all ones (4.2.2).
    private func sharedMemory(_ state: Registers) -> (address: UInt64, count: UInt64) {
        guard state.sharedMemorySelector == 0, let sharedMemoryAddress, let region = device.sharedMemory else { return (.max, .max) }
        return (sharedMemoryAddress, UInt64(region.count))
    }

    private func offeredFeatures(_ selector: UInt32) -> UInt32 {
        let offered = device.features | Feature.transport
        return switch selector {
        case 0: UInt32(truncatingIfNeeded: offered)
        case 1: UInt32(truncatingIfNeeded: offered >> 32)
        default: 0
        }
    }

    // MARK: Life cycle

    private func writeStatus(_ status: DeviceStatus, _ state: inout Registers) {
        if status.rawValue == 0 { return reset(&state) }
        guard let next = state.status.advanced(to: status) else { return }
        if next.contains(.featuresOK), !state.status.contains(.featuresOK) {
            let offered = device.features | Feature.transport
            // Leaving FEATURES_OK clear is how a device refuses a choice (3.1.1, step 5).
            guard state.driverFeatures & ~offered == 0, state.driverFeatures & Feature.version1 != 0 else { return }
        }
        if next.contains(.driverOK), !state.status.contains(.driverOK) {
            guard activate(&state) else { return interrupt.signalBroken() }
        }
        state.status = next
    }

    private func activate(_ state: inout Registers, at positions: [QueuePosition]? = nil) -> Bool {
        do {
            var queues: [Queue?] = []
            for (index, slot) in state.queues.enumerated() {
                guard slot.ready else {
                    queues.append(nil)
                    continue
                }
                queues.append(
                    try Queue(
                        slot.configuration, memory: memory, features: state.driverFeatures, notification: notifications[index],
                        interrupt: interrupt, position: positions?[index] ?? QueuePosition()))
            }
            try device.activate(Activation(features: state.driverFeatures, queues: queues, memory: memory, interrupt: interrupt))
            state.active = queues
            return true
        } catch {
            return false
        }
    }

    private func reset(_ state: inout Registers) {
        if state.status.contains(.driverOK) { device.reset() }
        for notification in notifications { notification.drain() }
        interrupt.reset()
        state = Registers(queueCount: notifications.count)
    }

    // MARK: Snapshots

    /// Holds the device; see ``VirtioDevice/pause()``. No vCPU may run.
    public func pause() throws(SystemError) {
        try registers.withLock { state throws(SystemError) in if state.status.contains(.driverOK) { try device.pause() } }
    }

    public func resume() {
        registers.withLock { if $0.status.contains(.driverOK) { device.resume() } }
    }

    /// The transport's state and the device's own, while paused.
    public func savedState() throws -> (transport: TransportState, device: [UInt8]) {
        try registers.withLock { registers in
            let queues = registers.queues.enumerated().map { index, slot in
                let queue = index < registers.active.count ? registers.active[index] : nil
                return QueueState(configuration: slot.configuration, isReady: slot.ready, position: queue?.position ?? QueuePosition())
            }
            let transport = TransportState(
                status: registers.status.rawValue, deviceFeaturesSelector: registers.deviceFeaturesSelector,
                driverFeaturesSelector: registers.driverFeaturesSelector, queueSelector: registers.queueSelector,
                driverFeatures: registers.driverFeatures, configurationGeneration: registers.configurationGeneration,
                pendingInterrupts: interrupt.status, isBroken: interrupt.isBroken, queues: queues)
            return (transport, try device.savedState())
        }
    }

    /// Puts a fresh device where another was saved, and starts it. The interrupt controllers must have their state.
    public func restore(_ saved: TransportState, device bytes: [UInt8]) throws {
        try registers.withLock { registers in
            var next = try Registers(saved, queueSizes: device.queueSizes, offered: device.features | Feature.transport)
            try device.restoreState(bytes)
            interrupt.restore(pending: saved.pendingInterrupts, isBroken: saved.isBroken)
            if next.status.contains(.driverOK) {
                guard activate(&next, at: saved.queues.map(\.position)) else {
                    throw SystemError("device state: \(device.name) cannot be started from it", .invalidArgument)
                }
                // Whatever was under way is looked at again by both sides: an interrupt or a notification too many does no
                // harm, one too few stalls a queue for ever.
                for notification in notifications { notification.signal() }
                interrupt.signalQueue()
            }
            registers = next
        }
    }

    // MARK: Configuration space

    private func readConfiguration(_ offset: Int, _ count: Int) -> UInt64 {
        let bytes = device.configuration
        var value: UInt64 = 0
        for index in 0..<min(max(count, 0), 8) where offset + index < bytes.count {
            value |= UInt64(bytes[offset + index]) << UInt64(8 * index)
        }
        return value
    }

    private func writeConfiguration(_ offset: Int, _ value: UInt64, _ count: Int) {
        guard (1...8).contains(count) else { return }
        device.writeConfiguration((0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }, at: offset)
    }
}
