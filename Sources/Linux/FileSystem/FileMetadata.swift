import CLinux
import Glibc

/// Seconds and nanoseconds since the epoch.
public struct FileTime: Equatable, Sendable {
    public var seconds: Int64
    public var nanoseconds: UInt32

    public init(seconds: Int64, nanoseconds: UInt32) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }
}

/// What a file is; the type bits of its mode.
public enum FileKind: UInt32, Sendable {
    case fifo = 0o010000
    case characterDevice = 0o020000
    case directory = 0o040000
    case blockDevice = 0o060000
    case regular = 0o100000
    case symbolicLink = 0o120000
    case socket = 0o140000

    /// Of the type bits in `mode`; nil for bits no file has.
    public init?(mode: UInt32) { self.init(rawValue: mode & 0o170000) }

    /// As in a directory entry (`DT_REG` and so on).
    public var entryType: UInt32 { rawValue >> 12 }
}

/// `statx(2)` of a file.
public struct FileMetadata: Equatable, Sendable {
    /// Major number in the upper half, minor in the lower.
    public var device: UInt64 = 0
    public var inode: UInt64 = 0
    /// Which mount it was reached through; 0 when the kernel does not tell.
    public var mount: UInt64 = 0
    /// Bytes.
    public var size: UInt64 = 0
    /// Units of 512 bytes.
    public var blocks: UInt64 = 0
    public var accessed = FileTime(seconds: 0, nanoseconds: 0)
    public var modified = FileTime(seconds: 0, nanoseconds: 0)
    public var changed = FileTime(seconds: 0, nanoseconds: 0)
    /// Nil when the file system does not keep it.
    public var born: FileTime?
    public var mode: UInt32 = 0
    public var links: UInt32 = 0
    public var user: UInt32 = 0
    public var group: UInt32 = 0
    public var blockSize: UInt32 = 0
    /// Of a device file.
    public var deviceMajor: UInt32 = 0
    public var deviceMinor: UInt32 = 0

    public init() {}

    public var kind: FileKind? { FileKind(mode: mode) }
}

extension Descriptor {
    /// What is behind this descriptor, which may be an `O_PATH` one.
    public func metadata() throws(SystemError) -> FileMetadata {
        var raw = clinux_metadata()
        try check(unsafe clinux_metadata_at(self.raw, "", AT_EMPTY_PATH, &raw), "statx")
        return FileMetadata(raw)
    }

    /// What entry `name` of this directory is; a symbolic link is not followed.
    public func metadata(of name: FileName) throws(SystemError) -> FileMetadata {
        var raw = clinux_metadata()
        try check(unsafe clinux_metadata_at(self.raw, name.characters, AT_SYMLINK_NOFOLLOW, &raw), "statx")
        return FileMetadata(raw)
    }
}

extension FileMetadata {
    fileprivate init(_ raw: clinux_metadata) {
        device = raw.device
        inode = raw.inode
        mount = raw.mount
        size = raw.size
        blocks = raw.blocks
        accessed = FileTime(seconds: raw.accessed, nanoseconds: raw.accessed_ns)
        modified = FileTime(seconds: raw.modified, nanoseconds: raw.modified_ns)
        changed = FileTime(seconds: raw.changed, nanoseconds: raw.changed_ns)
        if raw.mask & UInt32(STATX_BTIME) != 0 { born = FileTime(seconds: raw.born, nanoseconds: raw.born_ns) }
        mode = raw.mode
        links = raw.links
        user = raw.user
        group = raw.group
        blockSize = raw.block_size
        deviceMajor = raw.major
        deviceMinor = raw.minor
    }
}
