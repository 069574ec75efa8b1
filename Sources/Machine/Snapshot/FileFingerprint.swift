import Glibc
import Linux

/// Tells whether a file is the one it was.
///
/// The kernel changes a file's change time with every change of its content, and nobody can set it: as long as it,
/// number and size are the same there is nothing to read. Any other file, a copy say, is read and its content compared.
struct FileFingerprint: Equatable, Sendable {
    var size: UInt64
    var inode: UInt64
    /// Change time (ctime), nanoseconds.
    var changed: UInt64
    var contentHash: UInt64

    init(size: UInt64, inode: UInt64, changed: UInt64, contentHash: UInt64) {
        self.size = size
        self.inode = inode
        self.changed = changed
        self.contentHash = contentHash
    }

    init(of file: Descriptor, contentHash: UInt64) throws(SystemError) {
        let status = try file.status()
        self.init(size: UInt64(clamping: status.st_size), inode: UInt64(status.st_ino), changed: status.changed, contentHash: contentHash)
    }

    init(of file: Descriptor) throws(SystemError) {
        try self.init(of: file, contentHash: try Self.hashContent(of: file))
    }

    /// - Parameter hash: hashes the content as was done for the fingerprint.
    func matches(_ file: Descriptor, _ hash: (Descriptor) throws(SystemError) -> UInt64 = hashContent) throws(SystemError) -> Bool {
        let status = try file.status()
        guard UInt64(clamping: status.st_size) == size else { return false }
        if UInt64(status.st_ino) == inode, status.changed == changed { return true }
        return try hash(file) == contentHash
    }

    static func hashContent(of file: Descriptor) throws(SystemError) -> UInt64 {
        let size = Int(try file.status().st_size)
        guard size > 0 else { return 0 }
        return ContentHash.of(try Mapping(file, count: size, access: .read, sharing: .private), 0..<size)
    }
}

extension stat {
    fileprivate var changed: UInt64 {
        UInt64(bitPattern: Int64(st_ctim.tv_sec)) &* 1_000_000_000 &+ UInt64(bitPattern: Int64(st_ctim.tv_nsec))
    }
}
