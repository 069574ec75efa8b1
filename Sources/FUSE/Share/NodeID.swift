/// The number of a file towards the guest: which share, and which of the share's inodes. Neither part is
/// ever used twice, so a number the guest held on to can only name what it always named, or nothing.
struct NodeID: Equatable, Sendable {
    let rawValue: UInt64

    /// FUSE_ROOT_ID: the directory whose entries are the shares.
    static let root = NodeID(rawValue: 1)

    private static let inodeBits: UInt64 = 44
    static let inodeLimit: UInt64 = 1 << inodeBits
    static let shareLimit: UInt32 = 1 << 20

    init(rawValue: UInt64) { self.rawValue = rawValue }

    /// - Parameters:
    ///   - share: from 1, below ``shareLimit``.
    ///   - inode: from 1 (the share's root), below ``inodeLimit``.
    init(share: UInt32, inode: UInt64) { rawValue = UInt64(share) << Self.inodeBits | inode }

    /// The directory above a share's root (``ShareTable/holderSuffix``).
    init(holderOf share: UInt32) { self.init(share: share, inode: 0) }

    /// The share whose holder this is.
    var heldShare: UInt32? { share > 0 && inode == 0 ? share : nil }

    /// 0 for the root.
    var share: UInt32 { UInt32(truncatingIfNeeded: rawValue >> Self.inodeBits) }
    var inode: UInt64 { rawValue & (Self.inodeLimit - 1) }
}
