import FUSE
import GuestMemory
import Linux
import Synchronization

/// Requests that may wait for a disk, on threads of their own, so that no other request waits for them.
///
/// The threads only serve; the device's thread, which owns the queues, gives the chains back.
final class SlowRequests: Sendable {
    private struct Request {
        let queue: Queue
        let chain: DescriptorChain
    }

    private struct Answer {
        let queue: Queue
        let head: UInt16
        let written: UInt32
    }

    private struct State {
        var waiting: [Request] = []
        var answers: [Answer] = []
        var threads: [Thread] = []
        var busy = 0
        var stopped = false
    }

    /// More would only queue up at the disk.
    private static let threadLimit = 4

    /// Signalled when there are answers to give back.
    let finished: EventDescriptor
    /// Counts what threads are to wake for.
    private let work: EventDescriptor
    private let state = Mutex(State())
    private let server: FileServer

    init(_ server: FileServer) throws(SystemError) {
        self.server = server
        finished = try EventDescriptor()
        work = try EventDescriptor(nonBlocking: false, semaphore: true)
    }

    /// Takes a request over. There are never more than a queue has descriptors.
    ///
    /// - Returns: false when it has to be served by the caller, for want of threads.
    func add(_ chain: DescriptorChain, from queue: Queue) -> Bool {
        let taken = state.withLock { state in
            if state.busy + state.waiting.count >= state.threads.count, state.threads.count < Self.threadLimit {
                if let thread = try? Thread("fs-slow", { self.run() }) { state.threads.append(thread) }
            }
            guard !state.threads.isEmpty else { return false }
            state.waiting.append(Request(queue: queue, chain: chain))
            return true
        }
        if taken { work.signal() }
        return taken
    }

    /// Gives back what is done. For the thread that owns the queues.
    func giveBack() throws(QueueError) {
        finished.drain()
        let answers = state.withLock { state in
            defer { state.answers.removeAll(keepingCapacity: true) }
            return state.answers
        }
        for answer in answers {
            try answer.queue.push(answer.head, written: answer.written)
            try answer.queue.signalIfNeeded()
        }
    }

    /// Waits until every request is served, and gives all of them back. For whoever holds the thread that owns the queues.
    func finishAll(milliseconds: Int) throws(SystemError) {
        let deadline = monotonicNanoseconds() &+ UInt64(milliseconds) &* 1_000_000
        while true {
            let isIdle = state.withLock { $0.busy == 0 && $0.waiting.isEmpty }
            do { try giveBack() } catch {
                // The driver broke its ring: its own thread will find that too.
                return
            }
            if isIdle { return }
            let now = monotonicNanoseconds()
            guard now < deadline else { throw SystemError("requests of the file system are still under way", .timedOut) }
            _ = try finished.descriptor.waitReadable(atMost: deadline - now)
        }
    }

    /// Returns when no thread serves any more. What is not served by then never will be.
    func stop() {
        let threads = state.withLock { state in
            state.stopped = true
            state.waiting = []
            defer { state.threads = [] }
            return state.threads
        }
        for _ in threads { work.signal() }
        for thread in threads { thread.join() }
    }

    private func run() {
        // Without a worker requests are answered all the same, if with an error.
        let worker = try? server.makeWorker()
        while true {
            work.drain()
            let request = state.withLock { state -> Request? in
                guard !state.stopped, !state.waiting.isEmpty else { return nil }
                state.busy += 1
                return state.waiting.removeFirst()
            }
            guard let request else {
                if state.withLock({ $0.stopped }) { return }
                continue
            }
            let written = worker?.handle(request.chain.readable, request.chain.writable) ?? 0
            state.withLock {
                $0.busy -= 1
                $0.answers.append(Answer(queue: request.queue, head: request.chain.head, written: written))
            }
            finished.signal()
        }
    }
}
