import CLinux
import Glibc

/// A piece of a directory as `getdents64(2)` gives it. Reuse it: it keeps its storage.
public struct DirectoryEntries: Sendable {
    public struct Entry: Sendable {
        public let inode: UInt64
        /// Where to go on reading after this entry.
        public let next: Int64
        /// `DT_…`.
        public let type: UInt8
        /// Where in ``DirectoryEntries/bytes`` the name is.
        public let name: Range<Int>
    }

    public private(set) var bytes: [UInt8]
    private var count = 0
    private var position = 0

    /// - Parameter capacity: bytes; the longest entry needs 280.
    public init(capacity: Int) {
        bytes = [UInt8](repeating: 0, count: capacity)
    }

    /// Reads entries from `offset` on, at most `limit` bytes of them. None at the directory's end.
    ///
    /// - Parameter offset: 0 or an entry's ``Entry/next``; what the file system makes of another is its affair.
    public mutating func read(_ directory: Descriptor, from offset: Int64, limit: Int) throws(SystemError) {
        position = 0
        count = 0
        try directory.seek(to: offset)
        let wanted = min(limit, bytes.count)
        count = try unsafe bytes.withUnsafeMutableBytes { buffer -> Result<Int, SystemError> in
            Result { () throws(SystemError) -> Int in
                try check(unsafe clinux_getdents(directory.raw, buffer.baseAddress, wanted), "getdents")
            }
        }.get()
    }

    /// The next entry read.
    public mutating func next() -> Entry? {
        // struct linux_dirent64: inode, offset, record length, type, name ended by a NUL.
        guard position + 19 < count else { return nil }
        let length = Int(bytes[position + 16]) | Int(bytes[position + 17]) << 8
        guard length > 19, position + length <= count else { return nil }
        let start = position + 19
        var end = start
        while end < position + length, bytes[end] != 0 { end += 1 }
        let entry = Entry(
            inode: word(position), next: Int64(bitPattern: word(position + 8)), type: bytes[position + 18], name: start..<end)
        position += length
        return entry
    }

    private func word(_ start: Int) -> UInt64 {
        unsafe bytes.withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: start, as: UInt64.self) }
    }
}
