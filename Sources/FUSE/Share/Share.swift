import Linux
import Synchronization

/// How long the guest may believe what it was told about a share's files.
public enum CachePolicy: String, Sendable {
    /// One second, and no remembering of names that do not exist: for directories the host changes too.
    case auto
    /// A day: for what only this guest changes while it runs, such as its root file system.
    case always

    var validity: Validity { self == .auto ? 1 : 86_400 }
}

/// How much of the host a share's guest may hold.
public struct ShareLimits: Sendable {
    /// Files the guest knows; each costs a descriptor and about 300 bytes here.
    public var inodes: Int
    public var openFiles: Int

    public init(inodes: Int = 1_000_000, openFiles: Int = 65_536) {
        self.inodes = inodes
        self.openFiles = openFiles
    }
}

/// One shared directory or file, and what the guest holds of it.
final class Share: Sendable {
    let number: UInt32
    let name: FileName
    let readOnly: Bool
    /// What is mounted below the root can be changed all the same.
    let exceptSubmounts: Bool
    let cache: CachePolicy
    /// The root's file system is elsewhere, and may tell of errors only when a file is closed.
    let isRemote: Bool
    let rootDevice: UInt64
    private let rootMount: UInt64
    let mayMap: Bool

    private struct Tables {
        var inodes: InodeTable
        var files: HandleTable
        /// Nil: files of this share are not mapped.
        var mapped: MappedRanges?
    }

    private let tables: Mutex<Tables>

    /// - Parameters:
    ///   - root: a directory or regular file, opened in any way.
    ///   - window: where its files may be mapped.
    init(
        number: UInt32, name: FileName, root: Descriptor, readOnly: Bool, exceptSubmounts: Bool, cache: CachePolicy, window: MappingWindow?,
        limits: ShareLimits, budget: DescriptorBudget
    ) throws(SystemError) {
        let metadata = try root.metadata()
        guard let kind = metadata.kind, kind == .directory || kind == .regular else {
            throw SystemError("share: neither a directory nor a regular file", .invalidArgument)
        }
        self.number = number
        self.name = name
        self.readOnly = readOnly
        self.exceptSubmounts = exceptSubmounts
        self.cache = cache
        isRemote = Self.remoteTypes.contains(try root.room().type)
        rootDevice = metadata.device
        rootMount = metadata.mount
        var inodes = InodeTable(limit: limits.inodes, budget: budget)
        _ = try inodes.enter(InodeKey(metadata), kind, root)
        tables = Mutex(
            Tables(inodes: inodes, files: HandleTable(limit: limits.openFiles, budget: budget), mapped: window.map(MappedRanges.init)))
        mayMap = window != nil
    }

    deinit {
        tables.withLock {
            $0.inodes.giveBack()
            $0.files.giveBack()
            $0.mapped?.hideAll()
        }
    }

    /// NFS, CIFS, SMB2, Ceph, 9P, FUSE, AFS (linux/magic.h).
    private static let remoteTypes: Set<Int> = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x00c3_6400, 0x0102_1997, 0x6573_5546, 0x6b41_4653]

    // MARK: Inodes

    func node(_ inode: Inode) -> NodeID { NodeID(share: number, inode: inode.number) }

    func inode(_ number: UInt64) throws(SystemError) -> Inode {
        guard let inode = tables.withLock({ $0.inodes[number] }) else { throw SystemError("unknown node", .staleNFSFileHandle) }
        return inode
    }

    var root: Inode {
        get throws(SystemError) { try inode(InodeTable.rootNumber) }
    }

    /// The file with this metadata, looked up once more if it is known.
    func lookUp(_ metadata: FileMetadata) -> Inode? {
        tables.withLock { $0.inodes.lookUp(InodeKey(metadata)) }
    }

    /// Makes a file known to the guest, looked up once.
    func enter(_ metadata: FileMetadata, _ descriptor: Descriptor) throws(SystemError) -> Inode {
        guard let kind = metadata.kind else { throw SystemError("no file has this mode", .ioError) }
        return try tables.withLock { tables throws(SystemError) -> Inode in
            try tables.inodes.enter(InodeKey(metadata), kind, descriptor)
        }
    }

    /// - Throws: `EROFS`.
    func checkWritable(_ inode: Inode) throws(SystemError) {
        guard readOnly, !exceptSubmounts || inode.key.mount == rootMount else { return }
        throw SystemError("read-only share", .readOnlyFileSystem)
    }

    func forget(_ number: UInt64, _ count: UInt64) {
        // Closing happens here, outside of the lock.
        _ = tables.withLock { $0.inodes.forget(number, count) }
    }

    // MARK: Open files

    func checkRoomForFile() throws(SystemError) {
        try tables.withLock { tables throws(SystemError) in try tables.files.checkRoom() }
    }

    func insert(_ file: OpenFile) throws(SystemError) -> UInt64 {
        try tables.withLock { tables throws(SystemError) -> UInt64 in try tables.files.insert(file) }
    }

    func file(_ handle: UInt64) throws(SystemError) -> OpenFile {
        guard let file = tables.withLock({ $0.files[handle] }) else { throw SystemError("unknown handle", .badFileDescriptor) }
        return file
    }

    func close(_ handle: UInt64) throws(SystemError) -> OpenFile {
        guard let file = tables.withLock({ $0.files.remove(handle) }) else { throw SystemError("unknown handle", .badFileDescriptor) }
        return file
    }

    /// Forgets everything the guest held but the root.
    func reset() {
        // Closing happens here, outside of the lock.
        _ = tables.withLock {
            $0.mapped?.hideAll()
            return ($0.inodes.removeAllButRoot(), $0.files.removeAll())
        }
    }

    // MARK: What the guest's pages show

    /// Whether the guest may keep the pages it has of a file it opens now: the content is the one it read
    /// or wrote itself. Close-to-open consistency, as NFS has it.
    func mayKeepPages(_ inode: Inode) throws(SystemError) -> Bool {
        if cache == .always { return true }
        let now = ContentVersion(try inode.descriptor.metadata())
        return tables.withLock {
            let same = $0.inodes.version(inode.number) == now
            if !same { $0.inodes.setVersion(inode.number, now) }
            return same
        }
    }

    /// The guest is done writing: what is in the file now is what its pages show.
    func noteWritten(_ inode: Inode) {
        guard cache != .always, let metadata = try? inode.descriptor.metadata() else { return }
        tables.withLock { $0.inodes.setVersion(inode.number, ContentVersion(metadata)) }
    }

    // MARK: Mapping

    /// A mapping costs the guest a request and 2 MiB of its window; small files are better read.
    private static let leastMapped: UInt64 = 64 << 10

    /// What a file's attributes say of mapping it.
    func mappingFlags(_ metadata: FileMetadata) -> UInt32 {
        mayMap && metadata.kind == .regular && metadata.size >= Self.leastMapped ? AttributeFlags.dax : 0
    }

    /// Shows the guest a piece of a file in its window.
    func show(
        _ file: Descriptor, of inode: Inode, from offset: Int64, count: Int, at position: Int, isWritable: Bool
    ) throws(SystemError) {
        try tables.withLock { tables throws(SystemError) in
            guard tables.mapped != nil else { throw SystemError("map: not in this share", .noFunction) }
            try tables.mapped?.show(file, of: inode.number, from: offset, count: count, at: position, isWritable: isWritable)
        }
    }

    func hide(at position: Int, count: Int) throws(SystemError) {
        try tables.withLock { tables throws(SystemError) in try tables.mapped?.hide(at: position, count: count) }
    }

    // MARK: Snapshots

    /// Everything the guest holds.
    struct Held {
        let nodes: [InodeTable.Held]
        let nextNode: UInt64
        let files: [(handle: UInt64, file: OpenFile)]
        let mapped: [SavedShare.Mapped]
    }

    var held: Held {
        tables.withLock {
            let inodes = $0.inodes.held
            return Held(nodes: inodes.nodes, nextNode: inodes.next, files: $0.files.all, mapped: $0.mapped?.all ?? [])
        }
    }

    /// - Returns: false when its number or the file is taken.
    func adopt(_ node: SavedShare.Node, _ metadata: FileMetadata, _ descriptor: Descriptor) throws(SystemError) -> Bool {
        let inode = Inode(number: node.number, key: InodeKey(metadata), kind: node.identity.kind, descriptor: descriptor)
        return try tables.withLock { tables throws(SystemError) in
            try tables.inodes.adopt(inode, lookups: node.lookups, version: node.shown)
        }
    }

    /// - Returns: false when the handle is taken, or can be none.
    func adopt(_ handle: UInt64, _ file: OpenFile) throws(SystemError) -> Bool {
        try tables.withLock { tables throws(SystemError) in try tables.files.adopt(handle, file) }
    }

    func setNextNode(_ number: UInt64) { tables.withLock { $0.inodes.setNext(number) } }

    // MARK: Counting

    struct Counts: Sendable {
        let inodes, openFiles: Int
        let refusedInodes, refusedFiles: UInt64
    }

    var counts: Counts {
        tables.withLock {
            Counts(
                inodes: $0.inodes.count, openFiles: $0.files.count, refusedInodes: $0.inodes.refusals, refusedFiles: $0.files.refusals)
        }
    }
}
