import Glibc
import Linux

/// Takes the signals of this process on its event loop, so that the container can have them.
final class SignalForwarder {
    /// Those that somebody sends. The rest tell of faults of our own, of children, or stop us on a terminal.
    private static let forwarded = [SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGCONT, SIGWINCH]

    private let signals: SignalDescriptor
    private let loop: EventLoop

    init(on loop: EventLoop, _ handle: @escaping (Int32) -> Void) throws(SystemError) {
        self.loop = loop
        let signals = try SignalDescriptor(Self.forwarded)
        self.signals = signals
        try loop.add(signals.descriptor, .readable) { _ in
            while let signal = signals.next() { handle(signal) }
        }
    }

    deinit {
        loop.remove(signals.descriptor)
    }
}
