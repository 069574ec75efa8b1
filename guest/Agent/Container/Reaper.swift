import CLinux
import Glibc
import Linux

/// Takes the exit statuses of children.
///
/// As PID 1 it takes those of orphans too (`SIGCHLD`); a library in somebody else's process must leave those alone
/// and watches its own children's pidfds.
final class Reaper {
    private let loop: EventLoop
    private let signals: SignalDescriptor?
    private var handlers: [Int32: (ProcessEnd) -> Void] = [:]

    init(on loop: EventLoop, adoptingOrphans: Bool) throws(SystemError) {
        self.loop = loop
        signals = adoptingOrphans ? try SignalDescriptor([SIGCHLD]) : nil
        guard let signals else { return }
        try loop.add(signals.descriptor, .readable) { [weak self] _ in
            while signals.next() != nil {}
            self?.reapAll()
        }
    }

    /// Calls `handler` once the child has ended. A child that is ended by then must not have been reaped.
    func watch(_ pid: Int32, _ pidfd: Descriptor, _ handler: @escaping (ProcessEnd) -> Void) throws(SystemError) {
        handlers[pid] = handler
        guard signals == nil else { return }
        try loop.add(pidfd, .readable) { [weak self] _ in
            guard let self, let (pid, end) = Self.reap(pid) else { return }
            self.loop.remove(pidfd)
            self.handlers.removeValue(forKey: pid)?(end)
        }
    }

    private func reapAll() {
        while let (pid, end) = Self.reap(-1) { handlers.removeValue(forKey: pid)?(end) }
    }

    private static func reap(_ pid: Int32) -> (Int32, ProcessEnd)? {
        var status: Int32 = 0
        let result = waitpid(pid, &status, WNOHANG)
        guard result > 0 else { return nil }
        return (result, status & 0x7f == 0 ? .exited(status >> 8 & 0xff) : .signalled(status & 0x7f))
    }
}
