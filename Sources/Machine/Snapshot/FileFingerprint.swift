import Glibc
import Linux

/// Tells whether a file is the one it was.
///
/// The kernel changes a file's change time with every change of its content, and nobody can set it: as long as it,
/// number and size are the same there is nothing to read.
struct FileFingerprint: Equatable, Sendable {
    var size: UInt64
    var inode: UInt64
    /// Change time (ctime), nanoseconds.
    var changed: UInt64
    /// For a copy, which is as good; zero where the file itself is wanted.
    var contentHash: UInt64

    init(size: UInt64, inode: UInt64, changed: UInt64, contentHash: UInt64) {
        self.size = size
        self.inode = inode
        self.changed = changed
        self.contentHash = contentHash
    }

    init(of file: Descriptor, contentHash: UInt64 = 0) throws(SystemError) {
        let status = try file.status()
        self.init(size: UInt64(clamping: status.st_size), inode: UInt64(status.st_ino), changed: status.changed, contentHash: contentHash)
    }

    /// Whether it is this very file, unchanged.
    func isSame(as file: Descriptor) throws(SystemError) -> Bool {
        let now = try FileFingerprint(of: file, contentHash: contentHash)
        return now == self
    }

    /// Whether it is this file, or one of the same content.
    ///
    /// - Parameter hash: hashes the content as was done for the fingerprint.
    func matches(_ file: Descriptor, _ hash: (Descriptor) throws(SystemError) -> UInt64) throws(SystemError) -> Bool {
        guard UInt64(clamping: try file.status().st_size) == size else { return false }
        if try isSame(as: file) { return true }
        return try hash(file) == contentHash
    }
}

extension stat {
    fileprivate var changed: UInt64 {
        UInt64(bitPattern: Int64(st_ctim.tv_sec)) &* 1_000_000_000 &+ UInt64(bitPattern: Int64(st_ctim.tv_nsec))
    }
}
