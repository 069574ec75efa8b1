import GuestMemory

/// Answers flush requests (virtio 1.2, 5.19.6). The image is mapped read-only, so there is never
/// anything to flush.
final class PmemHandler {
    private enum Request { static let flush: UInt32 = 0 }
    private enum Response {
        static let ok: UInt32 = 0
        static let ioError: UInt32 = 1
    }

    private let queue: Queue
    private let metrics: PmemMetrics
    private var chain = DescriptorChain()

    init(_ queue: Queue, _ metrics: PmemMetrics) {
        self.queue = queue
        self.metrics = metrics
    }

    func answerAll() throws(QueueError) {
        let metrics = metrics
        try queue.processAll(&chain) { chain in
            let isFlush = (try? chain.readable.read(UInt32.self)) == Request.flush
            if isFlush { metrics.flushes.add() } else { metrics.badRequests.add() }
            guard (try? chain.writable.write(isFlush ? Response.ok : Response.ioError)) != nil else { return 0 }
            return 4
        }
    }
}
