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

    // MARK: Snapshots

    /// What the client agreed on and which numbers shares have had, 13 bytes. Shares themselves belong to their host:
    /// a server that has some cannot be saved.
    public func savedState() throws(SystemError) -> [UInt8] {
        guard shares.all.isEmpty else { throw SystemError("the guest has shares: take them away before a snapshot", .resourceBusy) }
        let flags = agreed
        return [flags == nil ? 0 : 1] + bytes(flags ?? 0) + bytes(shares.nextNumber)
    }

    /// Takes what ``savedState()`` gave: the client goes on without a FUSE_INIT.
    public func restoreState(_ saved: [UInt8]) throws(SystemError) {
        guard saved.count == 13, saved[0] <= 1 else { throw SystemError("file server state: malformed", .invalidArgument) }
        let flags = saved[1..<9].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        try shares.skip(to: saved[9..<13].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
        agreedFlags.withLock { $0 = saved[0] == 1 ? flags : nil }
    }

    private func bytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
        (0..<MemoryLayout<Value>.size).map { UInt8(truncatingIfNeeded: value >> Value(8 * $0)) }
    }
}
