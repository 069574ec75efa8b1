import GuestMemory

/// One request: the buffers of a descriptor chain, checked and split by direction.
public struct DescriptorChain: Sendable {
    /// Index of the first descriptor; names the chain in the used ring.
    public internal(set) var head: UInt16 = 0
    /// What the driver wrote for the device.
    public var readable = GuestBuffer()
    /// Where the device answers.
    public var writable = GuestBuffer()

    /// An empty chain to pop into; reuse it, it keeps its storage.
    public init() {}
}

/// How a driver broke the ring's rules. The device stops and asks for a reset.
public enum QueueError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The queue's size or an address is not one a queue can have.
    case badConfiguration(String)
    /// The available index moved further than the queue is long.
    case indexJumped(from: UInt16, to: UInt16)
    case headOutOfRange(UInt16)
    case nextOutOfRange(UInt16)
    /// More descriptors than the queue has: a loop.
    case chainTooLong
    /// A device-readable descriptor after a device-writable one (virtio 1.2, 2.7.4.2).
    case readableAfterWritable
    /// An indirect table inside another, or its length no multiple of 16 or zero.
    case badIndirectTable
    /// INDIRECT without having negotiated it.
    case indirectNotNegotiated
    /// All buffers together are longer than guest memory can be.
    case chainTooLarge
    /// A buffer too short for the least a device has to put there.
    case bufferTooSmall(Int)
    case memory(GuestMemoryError)

    public var description: String {
        switch self {
        case .badConfiguration(let what): "bad queue configuration: \(what)"
        case .indexJumped(let from, let to): "available index jumped from \(from) to \(to)"
        case .headOutOfRange(let head): "chain head \(head) is beyond the queue"
        case .nextOutOfRange(let next): "next descriptor \(next) is beyond the table"
        case .chainTooLong: "descriptor chain is longer than the queue"
        case .readableAfterWritable: "device-readable descriptor after a device-writable one"
        case .badIndirectTable: "bad indirect descriptor table"
        case .indirectNotNegotiated: "indirect descriptor without the feature"
        case .chainTooLarge: "descriptor chain is larger than guest memory"
        case .bufferTooSmall(let count): "buffer of \(count) bytes"
        case .memory(let error): "\(error)"
        }
    }
}
