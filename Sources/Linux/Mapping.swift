import CLinux
import Glibc

/// A range of this process's address space, unmapped when its last owner lets go.
@safe
public final class Mapping: @unchecked Sendable {
    public let base: UnsafeMutableRawPointer
    /// Length in bytes.
    public let count: Int

    public static let pageSize = 4096
    /// What one entry of a page directory maps.
    public static let hugePageSize = 2 << 20

    public struct Access: OptionSet, Sendable {
        public let rawValue: Int32
        public init(rawValue: Int32) { self.rawValue = rawValue }
        public static let read = Access(rawValue: PROT_READ)
        public static let write = Access(rawValue: PROT_WRITE)
    }

    public enum Sharing: Sendable {
        case shared
        /// Copy on write: the file never sees what is written here.
        case `private`
    }

    /// Maps `count` bytes of `file` (or fresh zeroes) at `offset`.
    public init(_ file: Descriptor?, offset: Int = 0, count: Int, access: Access, sharing: Sharing) throws(SystemError) {
        var flags = sharing == .shared ? MAP_SHARED : MAP_PRIVATE
        // Guest RAM is larger than what the guest touches: reserve nothing up front.
        flags |= MAP_NORESERVE
        if file == nil { flags |= MAP_ANONYMOUS }
        let place = unsafe count >= Self.hugePageSize ? try Self.alignedPlace(count) : nil
        let fixed = unsafe place == nil ? 0 : MAP_FIXED
        let address = unsafe mmap(place, count, access.rawValue, flags | fixed, file?.raw ?? -1, off_t(offset))
        guard let address = unsafe address, unsafe address != MAP_FAILED else { throw SystemError.current("map \(count) bytes") }
        unsafe self.base = address
        self.count = count
    }

    /// Where a huge page of the file or the guest can be one of this process's.
    private static func alignedPlace(_ count: Int) throws(SystemError) -> UnsafeMutableRawPointer {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        let found = unsafe mmap(nil, count + hugePageSize, PROT_NONE, flags, -1, 0)
        guard let found = unsafe found, unsafe found != MAP_FAILED else { throw SystemError.current("reserve \(count) bytes") }
        let skipped = unsafe -Int(bitPattern: found) & (hugePageSize - 1)
        if skipped > 0 { unsafe munmap(found, skipped) }
        // The end of a file's last page, too, is the mapping's.
        let end = (skipped + count + pageSize - 1) / pageSize * pageSize
        if end < count + hugePageSize { unsafe munmap(found + end, count + hugePageSize - end) }
        return unsafe found + skipped
    }

    /// Shows `count` bytes of `file` from `offset` on at `position`, instead of what was there.
    ///
    /// - Throws: `EINVAL` for what is not whole pages of the mapping and the file, and what `mmap` answers.
    public func show(
        _ file: Descriptor, from offset: Int64, count: Int, at position: Int, access: Access, sharing: Sharing
    ) throws(SystemError) {
        guard offset >= 0, offset % Int64(Self.pageSize) == 0 else { throw SystemError("map file", .invalidArgument) }
        try replace(position, count, access.rawValue, sharing == .shared ? MAP_SHARED : MAP_PRIVATE, file.raw, offset)
    }

    /// Puts fresh zeroes in place of `count` bytes at `position`.
    public func clear(at position: Int, count: Int, access: Access) throws(SystemError) {
        try replace(position, count, access.rawValue, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    }

    /// Lets the kernel give fresh zeroes as huge pages: one fault where there were 512. A kernel without them ignores it.
    public func preferHugePages(at position: Int, count: Int) {
        unsafe _ = madvise(base + position, count, MADV_HUGEPAGE)
    }

    /// Has the pages of `count` bytes at `position` ready to be written to, as a first write to each would. A kernel that cannot
    /// (before 5.14), or has no memory for it, leaves that to the writes.
    public func populate(at position: Int, count: Int) {
        guard position >= 0, count > 0, position <= self.count, count <= self.count - position else { return }
        unsafe _ = madvise(base + position, count, MADV_POPULATE_WRITE)
    }

    /// Makes `count` bytes at `position` a mapping of their own (of no other meaning: it is left out of core dumps).
    ///
    /// With a page of a file that is read the kernel maps those around it that are cached, but not beyond a mapping's end.
    public func setApart(at position: Int, count: Int) throws(SystemError) {
        guard position >= 0, count > 0, position <= self.count, count <= self.count - position else { throw SystemError("madvise", .invalidArgument) }
        try check(unsafe madvise(base + position, count, MADV_DONTDUMP), "madvise")
    }

    /// Takes away what `count` bytes at `position` show: they cannot be touched.
    public func hide(at position: Int, count: Int) throws(SystemError) {
        try replace(position, count, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    }

    private func replace(
        _ position: Int, _ count: Int, _ protection: Int32, _ flags: Int32, _ file: Int32, _ offset: Int64
    ) throws(SystemError) {
        guard position >= 0, count > 0, position <= self.count, count <= self.count - position, (position | count) % Self.pageSize == 0 else {
            throw SystemError("map over a mapping", .invalidArgument)
        }
        let place = unsafe base + position
        let address = unsafe mmap(place, count, protection, flags | MAP_FIXED | MAP_NORESERVE, file, off_t(offset))
        guard unsafe address == place else { throw SystemError.current("map over a mapping") }
    }

    deinit {
        unsafe munmap(base, count)
    }
}

/// An anonymous file in memory, `count` bytes of zeroes, which can be mapped by several processes.
public func makeMemoryFile(_ name: String, count: Int) throws(SystemError) -> Descriptor {
    let file = Descriptor(adopting: try check(unsafe memfd_create(name, UInt32(MFD_CLOEXEC)), "memfd_create"))
    try check(ftruncate(file.raw, off_t(count)), "size memory file to \(count) bytes")
    return file
}
