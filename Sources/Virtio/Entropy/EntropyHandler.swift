import GuestMemory
import Linux

/// Fills buffers from the host's generator, a bounded piece each (a device may answer short: virtio
/// 1.2, 5.4.6) and at a bounded rate, so that a guest cannot keep a host thread busy for nothing.
final class EntropyHandler {
    /// Linux asks for at most a page.
    private static let pieceLimit = 4096
    /// What an empty request costs; it bounds how many of them one wake-up handles.
    private static let requestCost = 64
    private static let bytesPerSecond = 1 << 20
    private static let burst = 256 << 10

    private let queue: Queue
    private unowned let loop: EventLoop
    private let metrics: EntropyMetrics
    private var bucket = TokenBucket(capacity: burst, perSecond: bytesPerSecond, now: monotonicNanoseconds())
    private var chain = DescriptorChain()
    private var waiting = false

    init(_ queue: Queue, _ loop: EventLoop, _ metrics: EntropyMetrics) {
        self.queue = queue
        self.loop = loop
        self.metrics = metrics
    }

    /// Answers what the rate allows now; the rest when it allows more.
    func answer() throws(QueueError) {
        guard !waiting else { return }
        bucket.refill(monotonicNanoseconds())
        repeat {
            try queue.disableNotifications()
            while bucket.tokens > 0, try queue.pop(into: &chain) {
                let got = (try? chain.writable.fillWithRandomBytes(count: Self.pieceLimit)) ?? 0
                bucket.take(max(got, Self.requestCost))
                metrics.requests.add()
                metrics.bytes.add(got)
                try queue.push(chain.head, written: UInt32(got))
            }
            try queue.signalIfNeeded()
            if bucket.tokens <= 0 { return pause() }
        } while try queue.enableNotifications()
    }

    private func pause() {
        waiting = true
        metrics.pauses.add()
        loop.schedule(afterNanoseconds: bucket.nanoseconds(for: Self.burst / 8)) { [unowned self] in
            waiting = false
            queue.notification.signal()
        }
    }
}
