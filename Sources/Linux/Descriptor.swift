import CLinux
import Glibc

/// An open file descriptor, closed when its last owner lets go.
///
/// Every descriptor in the project is close-on-exec; what a child is meant to keep is named when it
/// is spawned (``ChildProcess``).
public final class Descriptor: Sendable {
    /// The number. Valid while this object lives; do not close it.
    public let raw: Int32

    /// Takes ownership of `raw`.
    public init(adopting raw: Int32) {
        self.raw = raw
    }

    deinit {
        _ = close(raw)
    }

    /// The process's standard streams, never closed.
    public static let standardInput = Descriptor(adopting: STDIN_FILENO)
    public static let standardOutput = Descriptor(adopting: STDOUT_FILENO)
    public static let standardError = Descriptor(adopting: STDERR_FILENO)

    /// Opens `path` relative to `directory` (or the working directory). `O_CLOEXEC` is added.
    public static func open(
        _ path: String, _ flags: Int32, mode: mode_t = 0, at directory: Descriptor? = nil
    ) throws(SystemError) -> Descriptor {
        let raw = try checkRetrying("open \(path)") {
            openAt(directory?.raw ?? AT_FDCWD, path, flags | O_CLOEXEC, mode)
        }
        return Descriptor(adopting: raw)
    }

    /// Names what is at `path` without opening it (`O_PATH`).
    public static func openPath(_ path: String, _ flags: Int32 = 0, at directory: Descriptor? = nil) throws(SystemError) -> Descriptor {
        try open(path, flags | O_PATH, at: directory)
    }

    /// A second descriptor for the same open file description.
    public func duplicate() throws(SystemError) -> Descriptor {
        Descriptor(adopting: try check(clinux_fcntl(raw, F_DUPFD_CLOEXEC, 3), "duplicate descriptor"))
    }

    /// A second descriptor for the same open file description, whose number is at least `minimum`.
    public func duplicate(from minimum: Int32) throws(SystemError) -> Descriptor {
        Descriptor(adopting: try check(clinux_fcntl(raw, F_DUPFD_CLOEXEC, Int(minimum)), "duplicate descriptor"))
    }

    /// `O_RDONLY`, `O_WRONLY` or `O_RDWR`.
    public func accessMode() throws(SystemError) -> Int32 {
        try check(clinux_fcntl(raw, F_GETFL, 0), "read descriptor flags") & O_ACCMODE
    }

    /// Opens the same file once more, with flags and offset of its own (`/proc/self/fd`). Not for sockets.
    public func reopened(_ flags: Int32) throws(SystemError) -> Descriptor {
        try Descriptor.open("/proc/self/fd/\(raw)", flags)
    }

    /// Closes what this number stands for and makes it stand for `other`'s open file. For standard streams: programs inherit it.
    public func replace(with other: Descriptor) throws(SystemError) {
        try checkRetrying("replace descriptor") { dup2(other.raw, raw) }
    }

    public func setNonBlocking(_ on: Bool = true) throws(SystemError) {
        let flags = try check(clinux_fcntl(raw, F_GETFL, 0), "read descriptor flags")
        let wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK
        try check(clinux_fcntl(raw, F_SETFL, Int(wanted)), "set descriptor flags")
    }

    /// `stat(2)` of the open file.
    public func status() throws(SystemError) -> stat {
        var result = stat()
        try check(unsafe fstat(raw, &result), "fstat")
        return result
    }

    /// Bytes that can be read at once from a pipe or socket (FIONREAD).
    public func readableCount() throws(SystemError) -> Int {
        var count: Int32 = 0
        try check(unsafe withUnsafeMutablePointer(to: &count) { clinux_ioctl(raw, UInt(FIONREAD), UInt(bitPattern: $0)) }, "FIONREAD")
        return Int(count)
    }

    /// Reads at most `buffer.count` bytes: how many came, 0 at the end of file.
    ///
    /// - Throws: `EAGAIN` on an empty non-blocking descriptor.
    public func read(into buffer: inout [UInt8]) throws(SystemError) -> Int {
        let count = buffer.count
        return try checkRetrying("read") { unsafe buffer.withUnsafeMutableBytes { unsafe Glibc.read(raw, $0.baseAddress, count) } }
    }

    /// Reads at most `count` bytes (a fresh array); empty at the end of file.
    public func read(upTo count: Int) throws(SystemError) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: count)
        let got = try read(into: &buffer)
        buffer.removeLast(count - got)
        return buffer
    }

    /// Reads at most `count` bytes at `position`, leaving the file offset alone.
    public func read(upTo count: Int, at position: Int) throws(SystemError) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: count)
        let got = try checkRetrying("read") {
            unsafe buffer.withUnsafeMutableBytes { unsafe pread(raw, $0.baseAddress, $0.count, position) }
        }
        buffer.removeLast(count - got)
        return buffer
    }

    /// Reads to the end of file, refusing more than `limit` bytes with `EFBIG`.
    public func readToEnd(limit: Int = 64 << 20) throws(SystemError) -> [UInt8] {
        var all: [UInt8] = []
        while true {
            let part = try read(upTo: 65536)
            if part.isEmpty { return all }
            all += part
            if all.count > limit { throw SystemError("read: over \(limit) bytes", .fileTooLarge) }
        }
    }

    /// Writes what the descriptor takes now: how many bytes went.
    public func write(_ bytes: some RandomAccessCollection<UInt8>) throws(SystemError) -> Int {
        let taken = bytes.withContiguousStorageIfAvailable { buffer -> Result<Int, SystemError> in
            unsafe writeOnce(buffer.baseAddress, buffer.count)
        }
        if let taken { return try taken.get() }
        return try write(Array(bytes))
    }

    /// Writes everything, blocking as long as it takes.
    public func writeAll(_ bytes: some RandomAccessCollection<UInt8>) throws(SystemError) {
        var rest = Array(bytes)[...]
        while !rest.isEmpty {
            rest = rest.dropFirst(try write(rest))
        }
    }

    public func writeAll(_ text: String) throws(SystemError) {
        try writeAll(Array(text.utf8))
    }

    /// Writes what the file takes at `position`: how many bytes went. A file opened with `O_APPEND` appends.
    public func write(_ bytes: some RandomAccessCollection<UInt8>, at position: Int) throws(SystemError) -> Int {
        let taken = bytes.withContiguousStorageIfAvailable { buffer -> Result<Int, SystemError> in
            Result { () throws(SystemError) -> Int in
                try checkRetrying("write") { unsafe pwrite(raw, buffer.baseAddress, buffer.count, position) }
            }
        }
        if let taken { return try taken.get() }
        return try write(Array(bytes), at: position)
    }

    /// Cuts or extends the file to `count` bytes.
    public func truncate(to count: Int) throws(SystemError) {
        try checkRetrying("truncate") { ftruncate(raw, off_t(count)) }
    }

    private func writeOnce(_ base: UnsafePointer<UInt8>?, _ count: Int) -> Result<Int, SystemError> {
        Result { () throws(SystemError) -> Int in try checkRetrying("write") { unsafe Glibc.write(raw, base, count) } }
    }
}

/// Whether this process was started with `number` open: what it opens itself is close-on-exec.
public func isInherited(_ number: Int32) -> Bool {
    let flags = clinux_fcntl(number, F_GETFD, 0)
    return flags >= 0 && flags & FD_CLOEXEC == 0
}

private func openAt(_ directory: Int32, _ path: String, _ flags: Int32, _ mode: mode_t) -> Int32 {
    unsafe Glibc.openat(directory, path, flags, mode)
}

extension stat {
    public var isRegularFile: Bool { st_mode & S_IFMT == S_IFREG }
}
