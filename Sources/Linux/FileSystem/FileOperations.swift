import CLinux
import Glibc

/// A time to set.
public enum FileTimeChange: Sendable {
    case keep
    case now
    case set(FileTime)

    /// UTIME_OMIT and UTIME_NOW are macros with casts, which Swift does not import.
    fileprivate var raw: timespec {
        switch self {
        case .keep: timespec(tv_sec: 0, tv_nsec: (1 << 30) - 2)
        case .now: timespec(tv_sec: 0, tv_nsec: (1 << 30) - 1)
        case .set(let time): timespec(tv_sec: Int(time.seconds), tv_nsec: Int(time.nanoseconds))
        }
    }
}

/// What a piece of a sparse file is; `SEEK_DATA` and `SEEK_HOLE` of `lseek(2)`.
public enum FileRegion: Int32, Sendable {
    case data = 3
    case hole = 4

    public init?(whence: Int32) { self.init(rawValue: whence) }
}

/// `statfs(2)`: how much room a file system has. Blocks are of `fragmentSize` bytes.
public struct FileSystemRoom: Sendable {
    public let type: Int
    public let blocks, freeBlocks, availableBlocks, files, freeFiles: UInt64
    public let blockSize, fragmentSize, nameLength: UInt32
}

extension Descriptor {
    /// Nil leaves the user or group as it is. Works on an `O_PATH` descriptor, symbolic links included.
    public func changeOwner(user: UInt32?, group: UInt32?) throws(SystemError) {
        try check(unsafe fchownat(raw, "", user ?? .max, group ?? .max, AT_EMPTY_PATH), "chown")
    }

    /// Works on an `O_PATH` descriptor, symbolic links included.
    public func changeTimes(accessed: FileTimeChange, modified: FileTimeChange) throws(SystemError) {
        let times = [accessed.raw, modified.raw]
        try check(unsafe utimensat(raw, "", times, AT_EMPTY_PATH), "utimensat")
    }

    public func truncate(to size: Int64) throws(SystemError) {
        _ = try checkRetrying("truncate") { ftruncate(raw, Int(size)) }
    }

    /// Waits until the file's data, and unless `dataOnly` its attributes, are on stable storage.
    public func synchronize(dataOnly: Bool = false) throws(SystemError) {
        _ = try checkRetrying("fsync") { dataOnly ? fdatasync(raw) : fsync(raw) }
    }

    /// Waits until the whole file system of this open file is on stable storage.
    public func synchronizeFileSystem() throws(SystemError) {
        try check(syncfs(raw), "syncfs")
    }

    /// Whether each write goes to the end of the file (`O_APPEND`).
    public func setAppending(_ on: Bool) throws(SystemError) {
        try check(clinux_fcntl(raw, F_SETFL, on ? Int(O_APPEND) : 0), "set file flags")
    }

    /// How the file is open: the access mode and what else `F_GETFL` tells.
    public func openFlags() throws(SystemError) -> Int32 { try check(clinux_fcntl(raw, F_GETFL, 0), "read file flags") }

    /// What closing one descriptor of several brings about: a remote file system writes back, and says what failed.
    public func flush() throws(SystemError) {
        let copy = try check(clinux_fcntl(raw, F_DUPFD_CLOEXEC, 3), "duplicate descriptor")
        try check(close(copy), "close")
    }

    public func allocate(mode: Int32, at offset: Int64, count: Int64) throws(SystemError) {
        _ = try checkRetrying("fallocate") { fallocate(raw, mode, Int(offset), Int(count)) }
    }

    /// Has the kernel begin to read a part of the file into the page cache (`POSIX_FADV_WILLNEED`). It reads no more at once than
    /// the disk's readahead, 128 KiB by default.
    public func willNeed(at offset: Int64, count: Int64) throws(SystemError) {
        let status = posix_fadvise(raw, Int(offset), Int(count), POSIX_FADV_WILLNEED)
        guard status == 0 else { throw SystemError("posix_fadvise", Errno(rawValue: status)) }
    }

    /// Moves the file offset.
    public func seek(to offset: Int64) throws(SystemError) {
        try check(lseek(raw, Int(offset), SEEK_SET), "lseek")
    }

    /// Where the next piece of this kind begins, at or after `offset`; `ENXIO` when there is none.
    public func find(_ region: FileRegion, from offset: Int64) throws(SystemError) -> Int64 {
        Int64(try check(lseek(raw, Int(offset), region.rawValue), "lseek"))
    }

    /// Copies at most `count` bytes within the kernel: how many were copied.
    public func copyRange(at offset: Int64, to target: Descriptor, at targetOffset: Int64, count: Int) throws(SystemError) -> Int {
        var from = Int(offset)
        var to = Int(targetOffset)
        return try checkRetrying("copy_file_range") { unsafe copy_file_range(raw, &from, target.raw, &to, count, 0) }
    }

    public func room() throws(SystemError) -> FileSystemRoom {
        var raw = statfs()
        try check(unsafe fstatfs(self.raw, &raw), "statfs")
        return FileSystemRoom(
            type: Int(raw.f_type), blocks: UInt64(raw.f_blocks), freeBlocks: UInt64(raw.f_bfree), availableBlocks: UInt64(raw.f_bavail),
            files: UInt64(raw.f_files), freeFiles: UInt64(raw.f_ffree), blockSize: UInt32(truncatingIfNeeded: raw.f_bsize),
            fragmentSize: UInt32(truncatingIfNeeded: raw.f_frsize), nameLength: UInt32(truncatingIfNeeded: raw.f_namelen))
    }
}
