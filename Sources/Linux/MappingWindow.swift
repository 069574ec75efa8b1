import CLinux
import Glibc

/// A range of address space in which pieces of files come and go, page by page. What shows no file cannot be touched.
///
/// A page beyond the end of its file cannot be touched either: whoever lets others look through the window must live with
/// files that shrink.
@safe
public final class MappingWindow: Sendable {
    /// The whole range, for as long as the window lives.
    public let mapping: Mapping
    public var count: Int { mapping.count }

    private static let pageSize = 4096

    /// - Parameter count: a multiple of 4,096.
    public init(count: Int) throws(SystemError) {
        mapping = try Mapping(nil, count: count, access: [], sharing: .private)
    }

    /// Shows `count` bytes of `file` from `offset` on at `position`, instead of what was there.
    ///
    /// - Throws: `EINVAL` for what is not whole pages of the window, and what `mmap` answers.
    public func show(_ file: Descriptor, from offset: Int64, count: Int, at position: Int, isWritable: Bool) throws(SystemError) {
        guard offset >= 0, offset % Int64(Self.pageSize) == 0 else { throw SystemError("map file", .invalidArgument) }
        try replace(position, count, isWritable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file.raw, offset)
    }

    /// Takes away what `count` bytes at `position` show.
    public func hide(at position: Int, count: Int) throws(SystemError) {
        try replace(position, count, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    }

    private func replace(
        _ position: Int, _ count: Int, _ protection: Int32, _ flags: Int32, _ file: Int32, _ offset: Int64
    ) throws(SystemError) {
        guard position >= 0, count > 0, position <= self.count, count <= self.count - position, (position | count) % Self.pageSize == 0 else {
            throw SystemError("map into window", .invalidArgument)
        }
        let place = unsafe mapping.base + position
        let address = unsafe mmap(place, count, protection, flags | MAP_FIXED | MAP_NORESERVE, file, off_t(offset))
        guard unsafe address == place else { throw SystemError.current("map into window") }
    }
}
