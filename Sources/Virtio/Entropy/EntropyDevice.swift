import Linux

/// A source of random bytes (virtio 1.2, 5.4): the guest's `/dev/hwrng`.
public final class EntropyDevice: VirtioDevice {
    public let deviceID: UInt32 = 4
    public let name = "entropy"
    public let features: UInt64 = 0
    public let queueSizes: [UInt16] = [64]
    public let metrics = EntropyMetrics()
    private let thread = DeviceThreadSlot()

    public init() {}

    public func activate(_ activation: Activation) throws(SystemError) {
        guard let queue = activation.queues[0] else { return }
        let metrics = metrics
        thread.hold(try DeviceThread(name) { loop in
            let handler = EntropyHandler(queue, loop, metrics)
            try loop.serve(queue, activation.interrupt) { () throws(QueueError) in try handler.answer() }
        })
    }

    public func reset() { thread.stop() }

    public func pause() { thread.pause() }

    public func resume() { thread.resume() }
}
