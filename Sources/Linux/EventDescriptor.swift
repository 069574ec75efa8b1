import CLinux
import Glibc

/// An eventfd: a counter that threads, KVM (ioeventfd, irqfd) and epoll understand.
public struct EventDescriptor: Sendable {
    public let descriptor: Descriptor

    /// - Parameter semaphore: ``drain()`` takes one signal, not all.
    public init(nonBlocking: Bool = true, semaphore: Bool = false) throws(SystemError) {
        let flags = O_CLOEXEC | (nonBlocking ? O_NONBLOCK : 0) | (semaphore ? Int32(EFD_SEMAPHORE) : 0)
        descriptor = Descriptor(adopting: try check(eventfd(0, flags), "eventfd"))
    }

    /// Adds one. Never blocks in practice: the counter would have to reach 2⁶⁴−2.
    public func signal() {
        _ = eventfd_write(descriptor.raw, 1)
    }

    /// Takes the counter to zero (a semaphore: one down); waits for a signal first if the descriptor blocks.
    @discardableResult
    public func drain() -> UInt64 {
        var value: eventfd_t = 0
        while unsafe eventfd_read(descriptor.raw, &value) != 0 {
            if errno != EINTR { return 0 }
        }
        return value
    }
}
