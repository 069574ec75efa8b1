import GuestMemory
import Linux
import Synchronization

/// A FUSE server (protocol 7.39, linux/fuse.h) for one client: the file system's root shows the shares of
/// a table, each a passthrough to a directory or file of the host.
///
/// It starts no threads. Each thread that serves makes itself a ``RequestWorker``.
public final class FileServer: Sendable {
    public let shares: ShareTable
    let maximumReadahead: UInt32
    let numbers: DescriptorNumbers
    /// Flags agreed on in FUSE_INIT; nil before it and after FUSE_DESTROY.
    private let agreedFlags = Mutex<UInt64?>(nil)

    /// Make it in the process that serves: it holds that process's `/proc/self/fd`.
    ///
    /// - Parameter maximumReadahead: bytes the client may read ahead, also around a page that a mapping touches.
    public init(shares: ShareTable, maximumReadahead: UInt32 = .max) throws(SystemError) {
        self.shares = shares
        self.maximumReadahead = maximumReadahead
        numbers = try DescriptorNumbers()
    }

    /// Prepares the calling thread for serving: it gets a working directory and umask of its own.
    public func makeWorker() throws(SystemError) -> RequestWorker {
        try RequestWorker(self)
    }

    /// Forgets what the client holds: it is gone, or starts over.
    public func reset() {
        agreedFlags.withLock { $0 = nil }
        shares.reset()
    }

    func agree(_ flags: UInt64) {
        shares.reset()
        agreedFlags.withLock { $0 = flags }
    }

    var agreed: UInt64? { agreedFlags.withLock { $0 } }

    /// As a client that was saved had agreed.
    func setAgreed(_ flags: UInt64?) { agreedFlags.withLock { $0 = flags } }
}
