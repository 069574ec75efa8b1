import CLinux
import Glibc

extension Descriptor {
    /// Waits until there is something to read, the peer is gone or `nanoseconds` have passed.
    ///
    /// - Returns: whether reading would not block.
    public func waitReadable(atMost nanoseconds: UInt64) throws(SystemError) -> Bool {
        let deadline = monotonicNanoseconds() &+ nanoseconds
        while true {
            let now = monotonicNanoseconds()
            let milliseconds = now >= deadline ? 0 : Int32(clamping: (deadline - now + 999_999) / 1_000_000)
            var entry = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
            let count = unsafe poll(&entry, 1, milliseconds)
            if count == -1, errno != EINTR { throw SystemError.current("poll") }
            if count > 0 { return true }
            if monotonicNanoseconds() >= deadline { return false }
        }
    }
}
