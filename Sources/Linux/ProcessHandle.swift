import CLinux
import Glibc

/// A process by pidfd: whatever happens to its id, this means the same process.
public struct ProcessHandle {
    /// Readable once the process has ended.
    public let descriptor: Descriptor

    /// - Throws: `ESRCH` when there is no such process.
    public init(_ pid: Int32) throws(SystemError) {
        descriptor = Descriptor(adopting: try check(clinux_pidfd_open(pid), "open process \(pid)"))
    }

    /// - Parameter descriptor: a pidfd.
    public init(_ descriptor: Descriptor) { self.descriptor = descriptor }

    public func send(_ signal: Int32) throws(SystemError) {
        try check(clinux_pidfd_signal(descriptor.raw, signal), "send signal \(signal)")
    }
}
