import CLinux
import Glibc

/// A range of address space in which pieces of files come and go, page by page. What shows no file cannot be touched.
///
/// A page beyond the end of its file cannot be touched either: whoever lets others look through the window must live with
/// files that shrink.
public final class MappingWindow: Sendable {
    /// The whole range, for as long as the window lives.
    public let mapping: Mapping
    public var count: Int { mapping.count }

    /// - Parameter count: a multiple of 4,096.
    public init(count: Int) throws(SystemError) {
        mapping = try Mapping(nil, count: count, access: [], sharing: .private)
    }

    /// Shows `count` bytes of `file` from `offset` on at `position`, instead of what was there.
    ///
    /// - Throws: `EINVAL` for what is not whole pages of the window, and what `mmap` answers.
    public func show(_ file: Descriptor, from offset: Int64, count: Int, at position: Int, isWritable: Bool) throws(SystemError) {
        try mapping.show(file, from: offset, count: count, at: position, access: isWritable ? [.read, .write] : .read, sharing: .shared)
    }

    /// Takes away what `count` bytes at `position` show.
    public func hide(at position: Int, count: Int) throws(SystemError) {
        try mapping.hide(at: position, count: count)
    }
}
