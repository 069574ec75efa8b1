import CLinux
import Glibc

/// An epoll loop owned by one thread: descriptors and what to do when they are ready.
///
/// Level-triggered, so a handler may do a bounded piece of work and return.
public final class EventLoop {
    public struct Interest: OptionSet, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let readable = Interest(rawValue: EPOLLIN.rawValue)
        public static let writable = Interest(rawValue: EPOLLOUT.rawValue)
        /// Something exceptional: an event of a file of `/proc/pressure`.
        public static let priority = Interest(rawValue: EPOLLPRI.rawValue)
        /// The peer closed its writing side.
        public static let readClosed = Interest(rawValue: EPOLLRDHUP.rawValue)
        /// Reported without being asked for.
        public static let hangup = Interest(rawValue: EPOLLHUP.rawValue)
        /// Reported without being asked for.
        public static let error = Interest(rawValue: EPOLLERR.rawValue)
        /// Reports each change once, not as long as it lasts: the handler must remember what it left undone.
        public static let edgeTriggered = Interest(rawValue: EPOLLET.rawValue)
    }

    private struct Registration {
        let descriptor: Descriptor
        let generation: UInt32
        let handler: (Interest) -> Void

        var key: UInt64 { UInt64(generation) << 32 | UInt64(UInt32(bitPattern: descriptor.raw)) }
    }

    /// A call that was scheduled; cancel it with it.
    public struct Timer: Hashable, Sendable {
        fileprivate let number: UInt64
    }

    private struct Scheduled {
        let deadline: UInt64
        let body: () -> Void
    }

    private let epoll: Descriptor
    private var scheduled: [Timer: Scheduled] = [:]
    private var nextTimer: UInt64 = 0
    /// When the next of `scheduled` is due; looked at in every round, so not searched for then.
    private var nextDeadline = UInt64.max
    private var registrations: [Int32: Registration] = [:]
    private var nextGeneration: UInt32 = 0
    private var running = false
    /// Runs once after the handlers of each batch: for work they all add to, such as one interrupt.
    public var afterBatch: (() -> Void)?
    private var events = [clinux_epoll_event](repeating: clinux_epoll_event(), count: 64)

    public init() throws(SystemError) {
        epoll = Descriptor(adopting: try check(epoll_create1(O_CLOEXEC), "epoll_create"))
    }

    /// Calls `handler` whenever `descriptor` is ready for `interest`. One registration a descriptor.
    public func add(_ descriptor: Descriptor, _ interest: Interest, _ handler: @escaping (Interest) -> Void) throws(SystemError) {
        nextGeneration &+= 1
        let registration = Registration(descriptor: descriptor, generation: nextGeneration, handler: handler)
        try check(clinux_epoll_ctl(epoll.raw, EPOLL_CTL_ADD, descriptor.raw, interest.rawValue, registration.key), "epoll add")
        registrations[descriptor.raw] = registration
    }

    /// Changes what is waited for; an empty set keeps the registration silent but for hang-ups.
    public func modify(_ descriptor: Descriptor, _ interest: Interest) throws(SystemError) {
        guard let registration = registrations[descriptor.raw] else { return }
        try check(clinux_epoll_ctl(epoll.raw, EPOLL_CTL_MOD, descriptor.raw, interest.rawValue, registration.key), "epoll modify")
    }

    /// Forgets `descriptor`; does nothing if it is not known. The handler is not called again.
    public func remove(_ descriptor: Descriptor) {
        guard registrations.removeValue(forKey: descriptor.raw) != nil else { return }
        _ = clinux_epoll_ctl(epoll.raw, EPOLL_CTL_DEL, descriptor.raw, 0, 0)
    }

    /// Calls `body` once, `nanoseconds` from now, from ``runOnce(milliseconds:)``.
    @discardableResult
    public func schedule(afterNanoseconds nanoseconds: UInt64, _ body: @escaping () -> Void) -> Timer {
        nextTimer &+= 1
        let timer = Timer(number: nextTimer)
        let (deadline, overflow) = monotonicNanoseconds().addingReportingOverflow(nanoseconds)
        scheduled[timer] = Scheduled(deadline: overflow ? .max : deadline, body: body)
        if !overflow { nextDeadline = min(nextDeadline, deadline) }
        return timer
    }

    /// The call is not made; does nothing if it already was.
    public func cancel(_ timer: Timer) {
        scheduled[timer] = nil
        findNextDeadline()
    }

    /// Forgets every descriptor, handler and timer, and with them what they hold.
    public func removeAll() {
        for registration in registrations.values {
            _ = clinux_epoll_ctl(epoll.raw, EPOLL_CTL_DEL, registration.descriptor.raw, 0, 0)
        }
        registrations = [:]
        scheduled = [:]
        nextDeadline = .max
        afterBatch = nil
    }

    /// Waits at most `milliseconds` (−1: for ever) and runs the handlers of what is ready, then the timers that are due.
    ///
    /// - Returns: whether anything was ready or due.
    @discardableResult
    public func runOnce(milliseconds: Int32 = -1) throws(SystemError) -> Bool {
        let wait = millisecondsToWait(atMost: milliseconds)
        let count = try checkRetrying("epoll wait") { unsafe clinux_epoll_wait(epoll.raw, &events, Int32(events.count), wait) }
        for event in events.prefix(Int(count)) {
            // A handler earlier in this batch may have removed the descriptor, or its number may be in use again.
            let number = Int32(truncatingIfNeeded: event.data)
            guard let registration = registrations[number], registration.key == event.data else { continue }
            registration.handler(Interest(rawValue: event.events))
        }
        let timed = runTimers()
        afterBatch?()
        return timed || count > 0
    }

    private func millisecondsToWait(atMost limit: Int32) -> Int32 {
        let next = nextDeadline
        guard next != .max else { return limit }
        let now = monotonicNanoseconds()
        // Rounded up: a timer woken too early would spin until it is due.
        let wait = next > now ? Int32(clamping: (next - now).dividedRoundingUp(by: 1_000_000)) : 0
        return limit < 0 ? wait : min(limit, wait)
    }

    private func runTimers() -> Bool {
        guard nextDeadline != .max else { return false }
        let now = monotonicNanoseconds()
        guard nextDeadline <= now else { return false }
        let due = scheduled.filter { $0.value.deadline <= now }.sorted { $0.value.deadline < $1.value.deadline }
        for (timer, _) in due {
            // An earlier one may have cancelled it.
            guard let call = scheduled.removeValue(forKey: timer) else { continue }
            call.body()
        }
        findNextDeadline()
        return !due.isEmpty
    }

    private func findNextDeadline() {
        nextDeadline = scheduled.values.reduce(.max) { min($0, $1.deadline) }
    }

    /// Runs until ``stop()``.
    public func run() throws(SystemError) {
        running = true
        while running { try runOnce() }
    }

    /// Ends ``run()`` after the current batch. For the loop's own thread only.
    public func stop() {
        running = false
    }
}

extension Descriptor {
    /// Whether reading or writing would find something to do, without waiting.
    public func isReady(for interest: EventLoop.Interest, milliseconds: Int32 = 0) -> Bool {
        var poller = pollfd(fd: raw, events: Int16(truncatingIfNeeded: interest.rawValue), revents: 0)
        return unsafe poll(&poller, 1, milliseconds) == 1
    }
}

extension UInt64 {
    fileprivate func dividedRoundingUp(by divisor: UInt64) -> UInt64 {
        self / divisor + (self % divisor == 0 ? 0 : 1)
    }
}
