import Linux
import Synchronization

/// Memory that the guest plugs in while it runs (virtio 1.2, 5.15): one that goes on from a template of less grows to the size it is to
/// have.
///
/// The host's memory behind it is the machine's business. What is asked for is known from the start and never becomes less.
public final class MemoryDevice: VirtioDevice {
    public let deviceID: UInt32 = 24
    public let name = "memory"
    /// VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE: nobody looks at what is not plugged in.
    public let features: UInt64 = 1 << 1
    public let queueSizes: [UInt16] = [64]
    public let metrics = MemoryMetrics()

    private let address: UInt64
    private let regionSize: UInt64
    private let blocks: Mutex<MemoryBlocks>
    /// Readable once all that is asked for is plugged in.
    private let complete: EventDescriptor
    private let thread = DeviceThreadSlot()

    /// - Parameters:
    ///   - address: where the region starts; a multiple of 128 MiB, which Linux plugs at a time.
    ///   - regionSize: most bytes there ever are in it.
    ///   - requested: bytes to plug in, a multiple of ``MemoryBlocks/size``.
    public init(address: UInt64, regionSize: UInt64, requested: UInt64) throws(SystemError) {
        self.address = address
        self.regionSize = regionSize
        blocks = Mutex(MemoryBlocks(address: address, requested: requested))
        complete = try EventDescriptor(nonBlocking: false)
        noteProgress()
    }

    /// struct virtio_mem_config (5.15.4).
    public var configuration: [UInt8] {
        let (usable, plugged, requested) = blocks.withLock { ($0.usable, $0.plugged, $0.requested) }
        let values = [MemoryBlocks.size, 0, address, regionSize, usable, plugged, requested]
        return values.flatMap { value in (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
    }

    /// Waits until all that is asked for is plugged in: whether it is.
    public func waitUntilComplete(atMost nanoseconds: UInt64) -> Bool {
        (try? complete.descriptor.waitReadable(atMost: nanoseconds)) ?? false
    }

    /// Bytes plugged in.
    public var plugged: UInt64 { blocks.withLock { $0.plugged } }

    func handle<Result>(_ body: (inout MemoryBlocks) -> Result) -> Result {
        defer { noteProgress() }
        return blocks.withLock { body(&$0) }
    }

    private func noteProgress() {
        if blocks.withLock({ $0.plugged >= $0.requested }) { complete.signal() }
    }

    public func activate(_ activation: Activation) throws(SystemError) {
        guard let queue = activation.queues[0] else { return }
        thread.hold(try DeviceThread(name) { [self] loop in
            let handler = MemoryHandler(queue, self)
            try loop.serve(queue, activation.interrupt) { () throws(QueueError) in try handler.answerAll() }
        })
        // A driver that comes from a snapshot has seen another size.
        if blocks.withLock({ $0.plugged < $0.requested }) { activation.interrupt.signalConfiguration() }
    }

    public func reset() { thread.stop() }

    public func pause() { thread.pause() }

    public func resume() { thread.resume() }

    public func savedState() -> [UInt8] { blocks.withLock { $0.saved } }

    public func restoreState(_ bytes: [UInt8]) throws {
        try blocks.withLock { try $0.restore(bytes) }
        noteProgress()
    }
}
