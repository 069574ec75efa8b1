import Glibc
import Linux

/// One of this process's inherited files, as an event loop can use it without disturbing whoever else has it open.
///
/// `O_NONBLOCK` belongs to the open file, which a shell or an engine shares with us. Pipes and terminals are
/// therefore opened again; what cannot be is read and written in pieces that do not block once it is ready.
struct HostStream {
    enum Readiness {
        /// By epoll.
        case polled
        /// Regular files and some devices are always ready; epoll refuses them.
        case always
    }

    let descriptor: Descriptor
    let readiness: Readiness
    /// Most bytes written at once: a pipe that is writable takes PIPE_BUF without blocking (pipe(7)).
    let pieceSize: Int

    private static let nonBlockingPiece = 64 << 10
    private static let blockingPiece = 4096

    /// - Parameter access: `O_RDONLY` or `O_WRONLY`.
    init(_ inherited: Descriptor, access: Int32) throws(SystemError) {
        let kind = try inherited.status().st_mode & S_IFMT
        if kind == S_IFREG {
            self.init(inherited, .always, Self.nonBlockingPiece)
        } else if kind == S_IFIFO, access == O_RDONLY, !inherited.isAnonymousPipe {
            // Opened again after its last writer has gone, a named pipe's end would not be reported (fifo(7), poll).
            self.init(inherited, .polled, Self.blockingPiece)
        } else if kind == S_IFIFO || inherited.isTerminal, let own = try? inherited.reopened(access | O_NONBLOCK | O_NOCTTY) {
            self.init(own, .polled, Self.nonBlockingPiece)
        } else if kind == S_IFCHR, !inherited.isTerminal {
            // /dev/null and its like.
            self.init(inherited, .always, Self.nonBlockingPiece)
        } else {
            self.init(inherited, .polled, Self.blockingPiece)
        }
    }

    /// A socket or terminal of our own, which is made non-blocking.
    init(own descriptor: Descriptor) throws(SystemError) {
        try descriptor.setNonBlocking()
        self.init(descriptor, .polled, Self.nonBlockingPiece)
    }

    private init(_ descriptor: Descriptor, _ readiness: Readiness, _ pieceSize: Int) {
        self.descriptor = descriptor
        self.readiness = readiness
        self.pieceSize = pieceSize
    }
}

extension Descriptor {
    /// Whether it is `/dev/null`, by whatever name.
    var isNullDevice: Bool {
        guard let status = try? status() else { return false }
        return status.st_mode & S_IFMT == S_IFCHR && status.st_rdev == 1 << 8 | 3
    }

    fileprivate var isAnonymousPipe: Bool { (try? readLink("/proc/self/fd/\(raw)"))?.hasPrefix("pipe:") == true }
}
