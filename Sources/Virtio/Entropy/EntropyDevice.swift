import Linux
import Synchronization

/// A source of random bytes (virtio 1.2, 5.4): the guest's `/dev/hwrng`.
public final class EntropyDevice: VirtioDevice {
    public let deviceID: UInt32 = 4
    public let name = "entropy"
    public let features: UInt64 = 0
    public let queueSizes: [UInt16] = [64]
    public let metrics = EntropyMetrics()
    private let thread = Mutex<DeviceThread?>(nil)

    public init() {}

    public func activate(_ activation: Activation) throws(SystemError) {
        guard let queue = activation.queues[0] else { return }
        let metrics = metrics
        let started = try DeviceThread(name) { loop in
            let handler = EntropyHandler(queue, loop, metrics)
            try loop.serve(queue, activation.interrupt) { () throws(QueueError) in try handler.answer() }
        }
        thread.withLock { $0 = started }
    }

    public func reset() {
        thread.withLock {
            $0?.stop()
            $0 = nil
        }
    }

    public func pause() { thread.withLock { $0?.pause() } }

    public func resume() { thread.withLock { $0?.resume() } }
}
