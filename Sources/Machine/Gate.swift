import Linux
import Synchronization

/// Where vCPU threads stand while the machine does not run. It is closed at first.
///
/// One thread at a time opens and closes it; the machine's end opens it for good.
final class Gate: Sendable {
    private enum State { case closed, open, gone }

    private let threads: Int
    private let state = Mutex(State.closed)
    /// Looked at between two runs of a vCPU: as cheap as a load.
    private let isClosed = Atomic<Bool>(true)
    /// Counts threads that came to the closed gate.
    private let arrivals: EventDescriptor
    /// Counts threads that may pass.
    private let passes: EventDescriptor

    init(threads: Int) throws(SystemError) {
        self.threads = threads
        arrivals = try EventDescriptor(nonBlocking: false, semaphore: true)
        passes = try EventDescriptor(nonBlocking: false, semaphore: true)
    }

    /// For vCPU threads: returns at once while the gate is open, else when it opens.
    func pass() {
        guard isClosed.load(ordering: .acquiring) else { return }
        arrivals.signal()
        passes.drain()
    }

    /// Lets every thread pass. Does nothing when it is open.
    func open() {
        // Threads that are still on their way would take the passes of others when it closes again.
        guard state.withLock({ $0 }) == .closed else { return }
        waitForThreads()
        let wasClosed = state.withLock { state in
            guard state == .closed else { return false }
            state = .open
            isClosed.store(false, ordering: .releasing)
            return true
        }
        if wasClosed { for _ in 0..<threads { passes.signal() } }
    }

    /// Closes it; `kick` makes every vCPU come back from the guest. Returns when all threads stand at the gate.
    func close(_ kick: () -> Void) {
        let wasOpen = state.withLock { state in
            guard state == .open else { return false }
            state = .closed
            isClosed.store(true, ordering: .releasing)
            return true
        }
        guard wasOpen else { return }
        kick()
        waitForThreads()
        // They are counted again at the next opening.
        for _ in 0..<threads { arrivals.signal() }
    }

    /// The machine ends: nobody waits here any more.
    func remove() {
        state.withLock {
            $0 = .gone
            isClosed.store(false, ordering: .releasing)
        }
        for _ in 0..<threads {
            arrivals.signal()
            passes.signal()
        }
    }

    private func waitForThreads() {
        for _ in 0..<threads { arrivals.drain() }
    }
}
