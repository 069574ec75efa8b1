/// The device status register and which way it may move (virtio 1.2, 2.1 and 3.1.1).
struct DeviceStatus: OptionSet, Equatable, Sendable {
    let rawValue: UInt8

    static let acknowledge = DeviceStatus(rawValue: 1)
    static let driver = DeviceStatus(rawValue: 2)
    static let driverOK = DeviceStatus(rawValue: 4)
    static let featuresOK = DeviceStatus(rawValue: 8)
    static let needsReset = DeviceStatus(rawValue: 64)
    static let failed = DeviceStatus(rawValue: 128)

    /// The bits a driver sets, one at a time and in this order.
    fileprivate static let order: [DeviceStatus] = [.acknowledge, .driver, .featuresOK, .driverOK]

    /// The status after a driver writes `wanted`, or nil if that write is illegal and changes nothing.
    ///
    /// Legal is: what is set already, that and the next bit of the order, or that and FAILED, after
    /// which only a reset helps. DEVICE_NEEDS_RESET is the device's own: a driver writes back what it read.
    func advanced(to wanted: DeviceStatus) -> DeviceStatus? {
        let next = wanted.subtracting(.needsReset)
        guard next.isSuperset(of: self), !contains(.failed) else { return nil }
        let added = next.subtracting(self)
        let legal = added.isEmpty || added == .failed || added == Self.order.first { !contains($0) }
        return legal ? next : nil
    }
}

extension DeviceStatus {
    /// A status a driver can have reached; nil for any other number.
    init?(saved rawValue: UInt8) {
        let bits = DeviceStatus(rawValue: rawValue).subtracting(.failed)
        var reached: DeviceStatus = []
        for bit in Self.order where bits != reached { reached.formUnion(bit) }
        guard bits == reached else { return nil }
        self.init(rawValue: rawValue)
    }
}

/// What the driver has written so far.
struct Registers: Sendable {
    struct QueueSlot: Sendable {
        var configuration = QueueConfiguration(size: 0, descriptorTable: 0, availableRing: 0, usedRing: 0)
        var ready = false
    }

    var status: DeviceStatus = []
    var deviceFeaturesSelector: UInt32 = 0
    var driverFeaturesSelector: UInt32 = 0
    var queueSelector: UInt32 = 0
    /// Written right before the region's registers are read; not worth saving.
    var sharedMemorySelector: UInt32 = 0
    var driverFeatures: UInt64 = 0
    var configurationGeneration: UInt32 = 0
    var queues: [QueueSlot]
    /// The device's own while it is active.
    var active: [Queue?] = []

    init(queueCount: Int) {
        queues = Array(repeating: QueueSlot(), count: queueCount)
    }

    /// Features may be chosen between DRIVER and FEATURES_OK only.
    mutating func setDriverFeatures(_ value: UInt32) {
        guard status.contains(.driver), !status.contains(.featuresOK) else { return }
        switch driverFeaturesSelector {
        case 0: driverFeatures.setLow(value)
        case 1: driverFeatures.setHigh(value)
        default: break
        }
    }

    /// Queues may be set up between FEATURES_OK and DRIVER_OK only, and not once they are ready.
    private var canConfigureQueues: Bool { status.contains(.featuresOK) && !status.contains(.driverOK) && !status.contains(.failed) }

    private var selectedIndex: Int? { queueSelector < queues.count ? Int(queueSelector) : nil }

    var selected: QueueSlot? { selectedIndex.map { queues[$0] } }

    func selectedSize(_ sizes: [UInt16]) -> UInt16 { selectedIndex.map { sizes[$0] } ?? 0 }

    mutating func configure(_ change: (inout QueueConfiguration) -> Void) {
        guard canConfigureQueues, let index = selectedIndex, !queues[index].ready else { return }
        change(&queues[index].configuration)
    }

    mutating func setReady(_ ready: Bool, sizes: [UInt16]) {
        guard canConfigureQueues, let index = selectedIndex else { return }
        let size = queues[index].configuration.size
        guard !ready || (size > 0 && size <= sizes[index] && size & (size - 1) == 0) else { return }
        queues[index].ready = ready
    }
}

extension UInt64 {
    mutating func setLow(_ value: UInt32) { self = self & 0xffff_ffff_0000_0000 | UInt64(value) }
    mutating func setHigh(_ value: UInt32) { self = self & 0x0000_0000_ffff_ffff | UInt64(value) << 32 }
}
