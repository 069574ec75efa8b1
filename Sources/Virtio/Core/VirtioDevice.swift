import GuestMemory
import Linux

/// What a device is to its transport: an id, features, a configuration space and queues.
///
/// Everything but ``activate(_:)`` and ``reset()`` may be called from any vCPU thread at any time.
/// The transport serialises calls.
public protocol VirtioDevice: AnyObject, Sendable {
    /// Virtio 1.2, section 5: 1 network, 2 block, 3 console, 4 entropy, 19 socket, 26 file system, 27 pmem.
    var deviceID: UInt32 { get }
    /// For messages and thread names; at most 15 bytes.
    var name: String { get }
    /// Whether the driver finds it: a place may be kept for a device that comes later (virtio 1.2, 4.2.2.2). Once it has come, it stays.
    var isPlugged: Bool { get }
    /// Device-specific feature bits offered; the transport adds its own (``Feature``).
    var features: UInt64 { get }
    /// The most descriptors each queue may have: powers of two, at most 32,768.
    var queueSizes: [UInt16] { get }
    /// The device configuration space as the driver reads it.
    var configuration: [UInt8] { get }
    /// Shared memory region 0 (virtio 1.2, 2.10), if the device has one.
    var sharedMemory: MappingWindow? { get }
    /// A driver's write to the configuration space; ignored unless the device has writable fields.
    func writeConfiguration(_ bytes: [UInt8], at offset: Int)
    /// The driver set DRIVER_OK: queues are frozen from here to the next reset.
    func activate(_ activation: Activation) throws(SystemError)
    /// Stops every worker and forgets the driver; returns when no thread touches guest memory any more.
    func reset()
    /// Holds every worker where all requests it took are answered, or will be taken again in order: queues, guest
    /// memory and what ``savedState()`` reads stay as they are. Throws if that takes too long. Does nothing if the device
    /// is not active.
    func pause() throws(SystemError)
    /// Takes ``pause()`` back, also one that threw.
    func resume()
    /// What the device keeps beside its configuration and queues; called while paused.
    func savedState() throws -> [UInt8]
    /// Takes what ``savedState()`` gave in another life, before ``activate(_:)``. The bytes may be anything.
    func restoreState(_ bytes: [UInt8]) throws
}

extension VirtioDevice {
    public var isPlugged: Bool { true }
    public var configuration: [UInt8] { [] }
    public var sharedMemory: MappingWindow? { nil }
    public func writeConfiguration(_ bytes: [UInt8], at offset: Int) {}
    public func savedState() throws(SystemError) -> [UInt8] { [] }
    public func restoreState(_ bytes: [UInt8]) throws(SystemError) {
        guard bytes.isEmpty else { throw SystemError("device state: \(bytes.count) bytes for a device that keeps none", .invalidArgument) }
    }
}

/// What a device gets at DRIVER_OK.
public struct Activation: Sendable {
    /// Feature bits both sides accepted.
    public let features: UInt64
    /// One a queue of ``VirtioDevice/queueSizes``; nil where the driver left a queue unused.
    public let queues: [Queue?]
    public let memory: GuestMemory
    public let interrupt: Interrupt

    public func has(_ feature: UInt64) -> Bool { features & feature != 0 }

    public init(features: UInt64, queues: [Queue?], memory: GuestMemory, interrupt: Interrupt) {
        self.features = features
        self.queues = queues
        self.memory = memory
        self.interrupt = interrupt
    }
}

/// Transport and ring feature bits (virtio 1.2, section 6).
public enum Feature {
    public static let ringIndirectDescriptors: UInt64 = 1 << 28
    public static let ringEventIndex: UInt64 = 1 << 29
    public static let version1: UInt64 = 1 << 32

    /// Offered by every device here.
    public static let transport = ringIndirectDescriptors | ringEventIndex | version1
}
