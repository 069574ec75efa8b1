import Glibc
import Linux
import Synchronization

/// A device's own thread with an event loop: what reacts to queues, sockets and timers together.
public final class DeviceThread: Sendable {
    private let thread: Mutex<Thread?>
    private let stopEvent: EventDescriptor
    private let hold: Hold

    /// `setUp` runs on the new thread and registers what the device waits for. The loop runs until ``stop()``.
    public init(_ name: String, _ setUp: @escaping @Sendable (EventLoop) throws -> Void) throws(SystemError) {
        let stopEvent = try EventDescriptor()
        self.stopEvent = stopEvent
        let hold = try Hold()
        self.hold = hold
        let thread = try Thread(name) {
            defer { hold.end() }
            // Without its loop the device is silent, which a driver can only see as a time-out.
            guard let loop = try? EventLoop() else { return }
            // Handlers refer to the loop and the loop to them: a driver that resets its device again
            // and again must not leave one behind each time.
            defer { loop.removeAll() }
            // A socket's reader may be gone: that is EPIPE here, not the end of the VMM.
            blockSignal(SIGPIPE)
            do {
                try loop.add(stopEvent.descriptor, .readable) { [unowned loop] _ in loop.stop() }
                try loop.add(hold.asked.descriptor, .readable) { _ in hold.wait() }
                try setUp(loop)
                try loop.run()
            } catch {}
        }
        self.thread = Mutex(thread)
    }

    /// Holds the thread between two handlers; returns when it stands. Call ``resume()`` before the next.
    public func pause() { hold.ask() }

    public func resume() { hold.release() }

    /// Ends the loop and waits for the thread. Does nothing the second time. Never call it on the thread itself.
    public func stop() {
        stopEvent.signal()
        hold.release()
        thread.withLock {
            $0?.join()
            $0 = nil
        }
    }
}

/// Where a device's thread stands while it is paused.
private final class Hold: Sendable {
    private struct State {
        var isAsked = false
        var hasEnded = false
    }

    let asked: EventDescriptor
    /// The thread stands, or has ended.
    private let stands: EventDescriptor
    private let released: EventDescriptor
    private let state = Mutex(State())

    init() throws(SystemError) {
        asked = try EventDescriptor()
        stands = try EventDescriptor(nonBlocking: false)
        released = try EventDescriptor(nonBlocking: false)
    }

    func ask() {
        let hasEnded = state.withLock { state in
            state.isAsked = true
            return state.hasEnded
        }
        guard !hasEnded else { return }
        asked.signal()
        stands.drain()
    }

    func release() {
        let wasAsked = state.withLock { state in
            defer { state.isAsked = false }
            return state.isAsked
        }
        if wasAsked { released.signal() }
    }

    /// On the device's thread.
    func wait() {
        asked.drain()
        stands.signal()
        released.drain()
    }

    /// The device's thread ends, perhaps by an error: nobody waits for it any more.
    func end() {
        state.withLock { $0.hasEnded = true }
        stands.signal()
    }
}

extension EventLoop {
    /// Calls `handle` whenever the driver notifies `queue`. A driver that breaks the ring's rules is asked
    /// for a reset and not heard until then.
    func serve(_ queue: Queue, _ interrupt: Interrupt, _ handle: @escaping () throws(QueueError) -> Void) throws(SystemError) {
        // Every signal is an edge, so the counter need not be read: a system call less a request.
        try add(queue.notification.descriptor, [.readable, .edgeTriggered]) { [unowned self] _ in
            do { try handle() } catch {
                interrupt.signalBroken()
                remove(queue.notification.descriptor)
            }
        }
    }
}

/// The thread a device has between DRIVER_OK and the next reset.
final class DeviceThreadSlot: Sendable {
    private let thread = Mutex<DeviceThread?>(nil)

    func hold(_ started: DeviceThread) { thread.withLock { $0 = started } }

    /// Ends the thread, if there is one, and waits for it.
    func stop() {
        thread.withLock {
            $0?.stop()
            $0 = nil
        }
    }

    func pause() { thread.withLock { $0?.pause() } }

    func resume() { thread.withLock { $0?.resume() } }
}

extension Queue {
    /// Requests handled before the thread looks at its other duties, such as being stopped: a driver
    /// that refills the ring for ever must not hold it.
    private static let batchLimit = 256

    /// Handles the requests there are: `body` fills the chain's writable part and says how many bytes.
    /// The driver is told once, after the last. On return either notifications are on, or there is more
    /// to do and ``notification`` is signalled already.
    public func processAll(_ chain: inout DescriptorChain, _ body: (inout DescriptorChain) -> UInt32) throws(QueueError) {
        var left = Self.batchLimit
        repeat {
            try disableNotifications()
            while left > 0, try pop(into: &chain) {
                left -= 1
                let written = body(&chain)
                try push(chain.head, written: written)
            }
            try signalIfNeeded()
            if left == 0 { return notification.signal() }
        } while try enableNotifications()
    }
}
