import Linux

/// Persistent memory (virtio 1.2, 5.19): a range of guest-physical address space that the machine has
/// mapped from a file. The guest sees `/dev/pmem0` and executes from the host's page cache.
public final class PmemDevice: VirtioDevice {
    public let deviceID: UInt32 = 27
    public let name = "pmem"
    public let features: UInt64 = 0
    public let queueSizes: [UInt16] = [64]
    public let metrics = PmemMetrics()
    public let state: PmemState
    private let thread = DeviceThreadSlot()

    /// - Parameters:
    ///   - address: where the range starts; a multiple of 2 MiB, or the guest cannot map it in large pages.
    ///   - count: its length in bytes.
    public init(address: UInt64, count: UInt64) {
        state = PmemState(address: address, count: count)
    }

    /// `le64 start; le64 size` (5.19.4).
    public var configuration: [UInt8] {
        [state.address, state.count].flatMap { value in (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
    }

    public func activate(_ activation: Activation) throws(SystemError) {
        guard let queue = activation.queues[0] else { return }
        let metrics = metrics
        thread.hold(try DeviceThread(name) { loop in
            let handler = PmemHandler(queue, metrics)
            try loop.serve(queue, activation.interrupt) { () throws(QueueError) in try handler.answerAll() }
        })
    }

    public func reset() { thread.stop() }

    public func pause() { thread.pause() }

    public func resume() { thread.resume() }
}
