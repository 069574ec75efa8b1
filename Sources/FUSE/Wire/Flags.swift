/// Bits of the protocol's flag words (linux/fuse.h).
enum InitializeFlags {
    static let asyncRead: UInt64 = 1 << 0
    static let atomicTruncate: UInt64 = 1 << 3
    static let bigWrites: UInt64 = 1 << 5
    static let readDirectoryPlus: UInt64 = 1 << 13
    static let readDirectoryPlusAuto: UInt64 = 1 << 14
    static let asyncDirectIO: UInt64 = 1 << 15
    static let parallelDirectoryOperations: UInt64 = 1 << 18
    static let maximumPages: UInt64 = 1 << 22
    static let cacheSymbolicLinks: UInt64 = 1 << 23
    static let mapAlignment: UInt64 = 1 << 26
    static let submounts: UInt64 = 1 << 27
    static let handleKillPrivileges: UInt64 = 1 << 28
    static let extendedSetAttribute: UInt64 = 1 << 29
    static let extended: UInt64 = 1 << 30
    static let hasInodeDAX: UInt64 = 1 << 33

    /// With a window: each file's attributes say whether it is mapped there.
    static let mapping = mapAlignment | hasInodeDAX

    /// What this server can do. Left out, and why:
    /// - POSIX_LOCKS, FLOCK_LOCKS: without them the guest's kernel keeps locks itself, which is right for
    ///   files only one guest uses, costs no round trip and can block nobody here. virtiofsd's default.
    /// - WRITEBACK_CACHE: the host would not see what the guest wrote.
    /// - AUTO_INVAL_DATA: drops a file's pages after each write of the guest's own, since that changes the
    ///   time of modification too. OPEN compares instead and says whether pages may stay (``Share/mayKeepPages``).
    /// - POSIX_ACL: a round trip for each file's permission check, for images that have no ACLs.
    static let offered =
        asyncRead | atomicTruncate | bigWrites | readDirectoryPlus | readDirectoryPlusAuto | asyncDirectIO
        | parallelDirectoryOperations | maximumPages | cacheSymbolicLinks | submounts | handleKillPrivileges | extendedSetAttribute
        | extended
}

/// `flags` of struct fuse_attr.
enum AttributeFlags {
    static let submount: UInt32 = 1 << 0
    static let dax: UInt32 = 1 << 1
}

enum OpenReplyFlags {
    static let keepCache: UInt32 = 1 << 1
    static let cacheDirectory: UInt32 = 1 << 3
    static let noFlush: UInt32 = 1 << 5
}

enum AttributeChange {
    static let mode: UInt32 = 1 << 0
    static let user: UInt32 = 1 << 1
    static let group: UInt32 = 1 << 2
    static let size: UInt32 = 1 << 3
    static let accessTime: UInt32 = 1 << 4
    static let modificationTime: UInt32 = 1 << 5
    static let handle: UInt32 = 1 << 6
    static let accessTimeNow: UInt32 = 1 << 7
    static let modificationTimeNow: UInt32 = 1 << 8
    static let killPrivileges: UInt32 = 1 << 11
}

enum WriteFlags {
    /// From the page cache: the handle is a guess, the file's flags are not the writer's.
    static let cache: UInt32 = 1 << 0
    static let killPrivileges: UInt32 = 1 << 2
}

/// OPEN's and CREATE's `open_flags`.
enum OpenRequestFlags {
    static let killPrivileges: UInt32 = 1 << 0
}
