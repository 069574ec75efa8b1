import Glibc
import Linux

/// A process the host started: a container's init or an exec.
final class ContainerProcess {
    struct End: Equatable {
        /// Exit code, or 128 + signal.
        let status: UInt32
        /// Nanoseconds since the epoch.
        let at: Int64
        let memoryKilled: Bool
        /// What its streams carry to the host, now or soon.
        let output: ProcessStreams.Counts?
    }

    /// Empty: the container's init.
    let execID: String
    let pid: Int32
    let pidfd: Descriptor
    let streams: ProcessStreams
    private(set) var end: End?
    private var waiters: [(End) -> Void] = []

    init(execID: String, pid: Int32, pidfd: Descriptor, streams: ProcessStreams) {
        self.execID = execID
        self.pid = pid
        self.pidfd = pidfd
        self.streams = streams
    }

    /// Calls `body` once it has ended, now if it has.
    func wait(_ body: @escaping (End) -> Void) {
        if let end { body(end) } else { waiters.append(body) }
    }

    func finish(_ end: ProcessEnd, memoryKilled: Bool) {
        let status: UInt32 =
            switch end {
            case .exited(let code): UInt32(truncatingIfNeeded: code)
            case .signalled(let signal): 128 + UInt32(truncatingIfNeeded: signal)
            }
        let value = End(status: status, at: Int64(clamping: wallClockNanoseconds()), memoryKilled: memoryKilled, output: streams.written)
        self.end = value
        let waiting = waiters
        waiters = []
        for body in waiting { body(value) }
    }

    /// - Throws: `ESRCH` once it has ended.
    func send(_ signal: Int32) throws(SystemError) {
        guard end == nil, kill(pid, signal) == 0 else { throw SystemError("send signal \(signal)", end == nil ? Errno(rawValue: errno) : .noSuchProcess) }
    }
}
