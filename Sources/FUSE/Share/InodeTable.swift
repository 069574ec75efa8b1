import Linux

/// What makes two names the same file: its number, its file system, and the mount it was reached through.
struct InodeKey: Hashable, Sendable {
    let device: UInt64
    let inode: UInt64
    let mount: UInt64

    init(_ metadata: FileMetadata) {
        device = metadata.device
        inode = metadata.inode
        mount = metadata.mount
    }
}

/// A file the guest knows. Its `O_PATH` descriptor pins it: the number cannot come to mean another file.
final class Inode: Sendable {
    let number: UInt64
    let key: InodeKey
    let kind: FileKind
    let descriptor: Descriptor

    init(number: UInt64, key: InodeKey, kind: FileKind, descriptor: Descriptor) {
        self.number = number
        self.key = key
        self.kind = kind
        self.descriptor = descriptor
    }
}

/// The content of a file as far as the guest's pages tell it apart.
struct ContentVersion: Equatable, Sendable {
    let modified: FileTime
    let size: UInt64

    init(modified: FileTime, size: UInt64) {
        self.modified = modified
        self.size = size
    }

    init(_ metadata: FileMetadata) {
        self.init(modified: metadata.modified, size: metadata.size)
    }
}

/// The inodes of one share by number and by key, with how often the guest looked each up. Data only; the
/// lock is around it.
struct InodeTable: Sendable {
    private struct Record {
        let inode: Inode
        /// What the guest owes in FORGETs.
        var lookups: UInt64
        /// What the guest's pages show.
        var version: ContentVersion?
    }

    static let rootNumber: UInt64 = 1

    private var records: [UInt64: Record] = [:]
    private var numbers: [InodeKey: UInt64] = [:]
    private var nextNumber = rootNumber
    private let limit: Int
    private let budget: DescriptorBudget
    /// Inodes not entered because of the limit.
    private(set) var refusals: UInt64 = 0

    init(limit: Int, budget: DescriptorBudget) {
        self.limit = limit
        self.budget = budget
    }

    var count: Int { records.count }

    subscript(number: UInt64) -> Inode? { records[number]?.inode }

    /// The inode with `key`, looked up once more.
    mutating func lookUp(_ key: InodeKey) -> Inode? {
        guard let number = numbers[key] else { return nil }
        records[number]?.lookups &+= 1
        return records[number]?.inode
    }

    /// Enters a file looked up for the first time, or counts a lookup if somebody was faster.
    mutating func enter(_ key: InodeKey, _ kind: FileKind, _ descriptor: Descriptor) throws(SystemError) -> Inode {
        if let known = lookUp(key) { return known }
        guard records.count < limit, nextNumber < NodeID.inodeLimit, budget.take() else {
            refusals &+= 1
            throw SystemError("too many inodes", .tooManyOpenFilesInSystem)
        }
        let inode = Inode(number: nextNumber, key: key, kind: kind, descriptor: descriptor)
        nextNumber += 1
        records[inode.number] = Record(inode: inode, lookups: 1)
        numbers[key] = inode.number
        return inode
    }

    /// What a snapshot keeps of an inode.
    struct Held {
        let inode: Inode
        let lookups: UInt64
        let version: ContentVersion?
    }

    /// By number: the root first.
    var held: (nodes: [Held], next: UInt64) {
        let nodes = records.values.map { Held(inode: $0.inode, lookups: $0.lookups, version: $0.version) }
        return (nodes.sorted { $0.inode.number < $1.inode.number }, nextNumber)
    }

    /// Enters an inode as it was in another life; the root is there already and only gets its counts.
    ///
    /// - Returns: false when the number or the file is taken.
    mutating func adopt(_ inode: Inode, lookups: UInt64, version: ContentVersion?) throws(SystemError) -> Bool {
        guard inode.number != Self.rootNumber else {
            guard numbers[inode.key] == Self.rootNumber else { return false }
            records[inode.number]?.lookups = lookups
            records[inode.number]?.version = version
            return true
        }
        guard records[inode.number] == nil, numbers[inode.key] == nil else { return false }
        guard records.count < limit, budget.take() else { throw SystemError("too many inodes", .tooManyOpenFilesInSystem) }
        records[inode.number] = Record(inode: inode, lookups: lookups, version: version)
        numbers[inode.key] = inode.number
        return true
    }

    mutating func setNext(_ number: UInt64) { nextNumber = number }

    /// Takes back `count` lookups, or all there were. The root stays.
    ///
    /// - Returns: the inode if it is gone, to be let go of outside of the lock.
    mutating func forget(_ number: UInt64, _ count: UInt64) -> Inode? {
        guard let record = records[number], number != Self.rootNumber else { return nil }
        guard count >= record.lookups else {
            records[number]?.lookups = record.lookups - count
            return nil
        }
        records[number] = nil
        numbers[record.inode.key] = nil
        budget.give(1)
        return record.inode
    }

    func version(_ number: UInt64) -> ContentVersion? { records[number]?.version }

    mutating func setVersion(_ number: UInt64, _ version: ContentVersion) {
        records[number]?.version = version
    }

    /// Everything but the root, for a guest that starts over.
    mutating func removeAllButRoot() -> [Inode] {
        let gone = records.values.filter { $0.inode.number != Self.rootNumber }.map(\.inode)
        for inode in gone {
            records[inode.number] = nil
            numbers[inode.key] = nil
        }
        budget.give(gone.count)
        return gone
    }

    /// Everything, when the share goes.
    func giveBack() { budget.give(records.count) }
}
