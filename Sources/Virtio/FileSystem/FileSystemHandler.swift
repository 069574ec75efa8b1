import FUSE
import GuestMemory
import Linux

/// Serves the requests of one queue.
final class FileSystemHandler {
    /// Requests served before the thread looks at its other queue, and at being stopped.
    private static let batchLimit = 64

    private let queue: Queue
    private let worker: RequestWorker
    private let slow: SlowRequests
    private let metrics: FileSystemMetrics
    private var chain = DescriptorChain()

    init(_ queue: Queue, _ worker: RequestWorker, _ slow: SlowRequests, _ metrics: FileSystemMetrics) {
        self.queue = queue
        self.worker = worker
        self.slow = slow
        self.metrics = metrics
    }

    /// Serves what is there, telling the driver after the last; what is left after a batch announces itself
    /// again.
    func serve() throws(QueueError) {
        var left = Self.batchLimit
        repeat {
            try queue.disableNotifications()
            while left > 0, try queue.pop(into: &chain) {
                left -= 1
                metrics.requests.add()
                if RequestWorker.mayBlock(chain.readable), slow.add(chain, from: queue) {
                    metrics.slowRequests.add()
                    continue
                }
                let written = worker.handle(chain.readable, chain.writable)
                try queue.push(chain.head, written: written)
            }
            try queue.signalIfNeeded()
            if left == 0 { return queue.notification.signal() }
        } while try queue.enableNotifications()
    }
}
