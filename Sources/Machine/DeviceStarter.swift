import Linux
import Synchronization

/// The thread that starts and stops devices for the vCPUs.
///
/// A thread inherits its maker's system call filter, and vCPU threads, which run next to the guest's code, may
/// make no threads at all. So what starts a device's thread happens here, while the vCPU waits.
final class DeviceStarter: Sendable {
    /// What the thread and its clients share; the thread may outlive the starter by a moment.
    private final class Desk: Sendable {
        struct State {
            var work: (@Sendable () -> Void)?
            var closed = false
        }

        let state = Mutex(State())
        let asked: EventDescriptor
        let done: EventDescriptor

        init() throws(SystemError) {
            asked = try EventDescriptor(nonBlocking: false)
            done = try EventDescriptor(nonBlocking: false)
        }

        func serve() {
            while true {
                asked.drain()
                let (work, closed) = state.withLock { state in
                    defer { state.work = nil }
                    return (state.work, state.closed)
                }
                if let work {
                    work()
                    done.signal()
                }
                if closed { return }
            }
        }
    }

    private let desk: Desk
    /// Held by the vCPU whose work is being done.
    private let turn = Mutex<Void>(())
    private let thread: Mutex<Thread?>

    init() throws(SystemError) {
        let desk = try Desk()
        self.desk = desk
        let started = try Thread("devices") { desk.serve() }
        thread = Mutex(started)
    }

    deinit { stop() }

    /// Does `work` on the starter's thread and returns when it is done; does nothing once stopped.
    func perform(_ work: @escaping @Sendable () -> Void) {
        turn.withLock { _ in
            let accepted = desk.state.withLock { state in
                if !state.closed { state.work = work }
                return !state.closed
            }
            guard accepted else { return }
            desk.asked.signal()
            desk.done.drain()
        }
    }

    /// Ends the thread. No vCPU may wait for it any more.
    func stop() {
        desk.state.withLock { $0.closed = true }
        desk.asked.signal()
        thread.withLock {
            $0?.join()
            $0 = nil
        }
    }
}
