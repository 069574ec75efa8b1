import CLinux
import Glibc

/// Makes `signal` interrupt blocking system calls of the thread that gets it and do nothing else.
public func setEmptyHandler(_ signal: Int32) throws(SystemError) {
    var action = sigaction()
    action.__sigaction_handler = .init(sa_handler: { _ in })
    try check(unsafe sigaction(signal, &action, nil), "set signal handler")
}

/// Lets `signal` reach the calling thread, which may have inherited a mask that blocks it.
public func unblockSignal(_ signal: Int32) {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    unsafe sigaddset(&set, signal)
    unsafe pthread_sigmask(SIG_UNBLOCK, &set, nil)
}

/// `count` bytes of the kernel's random generator.
public func randomBytes(_ count: Int) throws(SystemError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let got = try checkRetrying("getrandom") { unsafe getrandom(&bytes, count, 0) }
    guard got == count else { throw SystemError("getrandom", .ioError) }
    return bytes
}
