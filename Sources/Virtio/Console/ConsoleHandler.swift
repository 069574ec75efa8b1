import GuestMemory

/// Takes what the guest prints from transmitq (virtio 1.2, 5.3.6) to the log.
final class ConsoleHandler {
    /// Taken of one buffer. Linux sends a page at most; a longer one is cut, which bounds what a request costs.
    private static let pieceLimit = 64 << 10

    private let queue: Queue
    private let log: ConsoleLog
    private let metrics: ConsoleMetrics
    private var chain = DescriptorChain()

    init(_ queue: Queue, _ log: ConsoleLog, _ metrics: ConsoleMetrics) {
        self.queue = queue
        self.log = log
        self.metrics = metrics
    }

    func writeAll() throws(QueueError) {
        let (log, metrics) = (log, metrics)
        try queue.processAll(&chain) { chain in
            let count = min(chain.readable.remaining, Self.pieceLimit)
            metrics.bytes.add(count)
            metrics.cut.add(chain.readable.remaining - count)
            if let bytes = try? chain.readable.readBytes(count) { log.append(bytes) }
            return 0
        }
    }
}
