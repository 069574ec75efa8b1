import Linux

/// What a snapshot keeps of a queue.
public struct QueueState: Equatable, Sendable {
    public var configuration: QueueConfiguration
    public var isReady: Bool
    public var position: QueuePosition

    public init(configuration: QueueConfiguration, isReady: Bool, position: QueuePosition) {
        self.configuration = configuration
        self.isReady = isReady
        self.position = position
    }
}

/// What a snapshot keeps of a device's transport: what its driver has written, and how far the queues are.
public struct TransportState: Equatable, Sendable {
    public var status: UInt8
    public var deviceFeaturesSelector: UInt32
    public var driverFeaturesSelector: UInt32
    public var queueSelector: UInt32
    public var driverFeatures: UInt64
    public var configurationGeneration: UInt32
    /// InterruptStatus.
    public var pendingInterrupts: UInt32
    /// DEVICE_NEEDS_RESET is due.
    public var isBroken: Bool
    public var queues: [QueueState]

    public init(
        status: UInt8, deviceFeaturesSelector: UInt32, driverFeaturesSelector: UInt32, queueSelector: UInt32, driverFeatures: UInt64,
        configurationGeneration: UInt32, pendingInterrupts: UInt32, isBroken: Bool, queues: [QueueState]
    ) {
        self.status = status
        self.deviceFeaturesSelector = deviceFeaturesSelector
        self.driverFeaturesSelector = driverFeaturesSelector
        self.queueSelector = queueSelector
        self.driverFeatures = driverFeatures
        self.configurationGeneration = configurationGeneration
        self.pendingInterrupts = pendingInterrupts
        self.isBroken = isBroken
        self.queues = queues
    }
}

extension Registers {
    /// Takes a saved state, held to the rules a driver's writes are held to.
    ///
    /// - Throws: if no driver could have brought this device there.
    init(_ state: TransportState, queueSizes: [UInt16], offered: UInt64) throws(SystemError) {
        func refuse(_ what: String) -> SystemError { SystemError("device state: \(what)", .invalidArgument) }
        guard let status = DeviceStatus(saved: state.status) else { throw refuse("status 0x\(String(state.status, radix: 16))") }
        guard state.queues.count == queueSizes.count else { throw refuse("\(state.queues.count) queues, not \(queueSizes.count)") }
        if status.contains(.featuresOK) {
            guard state.driverFeatures & ~offered == 0, state.driverFeatures & Feature.version1 != 0 else { throw refuse("features") }
        }
        self.init(queueCount: queueSizes.count)
        self.status = status
        deviceFeaturesSelector = state.deviceFeaturesSelector
        driverFeaturesSelector = state.driverFeaturesSelector
        queueSelector = state.queueSelector
        driverFeatures = state.driverFeatures
        configurationGeneration = state.configurationGeneration
        for (index, queue) in state.queues.enumerated() {
            let size = queue.configuration.size
            guard !queue.isReady || (size > 0 && size <= queueSizes[index] && size & (size - 1) == 0) else { throw refuse("queue size \(size)") }
            queues[index] = QueueSlot(configuration: queue.configuration, ready: queue.isReady)
        }
    }
}
