import CLinux
import Glibc

/// Signals as something to read (`signalfd`), blocked for the calling thread meanwhile.
public final class SignalDescriptor {
    /// Readable when a signal is waiting.
    public let descriptor: Descriptor
    private let signals: [Int32]

    /// Blocks `signals`; for a process with one thread, before it makes others.
    public init(_ signals: [Int32]) throws(SystemError) {
        self.signals = signals
        var set = Self.sigset(signals)
        try check(unsafe sigprocmask(SIG_BLOCK, &set, nil), "block signals")
        descriptor = Descriptor(adopting: try check(unsafe signalfd(-1, &set, Int32(SFD_CLOEXEC | SFD_NONBLOCK)), "signalfd"))
    }

    deinit {
        var set = Self.sigset(signals)
        unsafe sigprocmask(SIG_UNBLOCK, &set, nil)
    }

    /// The next signal waiting, nil when there is none.
    public func next() -> Int32? {
        var information = [UInt8](repeating: 0, count: MemoryLayout<signalfd_siginfo>.size)
        // ssi_signo is the first field.
        guard let count = try? descriptor.read(into: &information), count == information.count else { return nil }
        return Int32(information[0])
    }

    private static func sigset(_ signals: [Int32]) -> sigset_t {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for signal in signals { unsafe sigaddset(&set, signal) }
        return set
    }
}

/// Makes writes to a closed pipe or socket fail with `EPIPE` instead of ending the process.
public func ignoreBrokenPipes() {
    _ = signal(SIGPIPE, SIG_IGN)
}
