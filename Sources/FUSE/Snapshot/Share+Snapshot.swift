import Glibc
import Linux

extension Share {
    private var title: String { "share \(String(decoding: name.string.bytes, as: UTF8.self))" }

    // MARK: Saving

    func saved(_ numbers: DescriptorNumbers) throws -> SavedShare {
        let rootPath = try numbers.target(of: root.descriptor)
        let held = held
        let inUse = Set(held.files.map(\.file.inode.number)).union(held.mapped.map(\.node))
        var nodes: [SavedShare.Node] = []
        for record in held.nodes {
            let metadata = try record.inode.descriptor.metadata()
            let path = try numbers.target(of: record.inode.descriptor)
            guard let identity = FileIdentity(metadata), let below = Self.path(path, below: rootPath, metadata) else {
                guard !inUse.contains(record.inode.number) else {
                    throw SnapshotError("\(title): \(String(decoding: path, as: UTF8.self)) is open and could not be found again")
                }
                // Only remembered: the client looks again when it is told that it is stale.
                continue
            }
            nodes.append(
                .init(number: record.inode.number, path: below, identity: identity, lookups: record.lookups, shown: record.version))
        }
        let known = Set(nodes.map(\.number))
        let files = try held.files.filter { known.contains($0.file.inode.number) }.map {
            SavedShare.OpenFile(handle: $0.handle, node: $0.file.inode.number, flags: try $0.file.descriptor.openFlags())
        }
        return SavedShare(
            number: number, name: name.string.bytes, readOnly: readOnly, exceptSubmounts: exceptSubmounts, cache: cache, isMapped: mayMap,
            nextNode: held.nextNode, nodes: nodes, files: files, mapped: held.mapped.filter { known.contains($0.node) })
    }

    private static let deletedSuffix = Array(" (deleted)".utf8)

    /// The part of a path after the share's root; nil for a file that has lost its name, or is not below the root any more.
    private static func path(_ path: [UInt8], below root: [UInt8], _ metadata: FileMetadata) -> [UInt8]? {
        if path == root { return [] }
        // A file whose name does end so is taken for one that has none: at worst a snapshot is refused.
        guard metadata.links > 0, !path.suffix(deletedSuffix.count).elementsEqual(deletedSuffix) else { return nil }
        let slash = UInt8(ascii: "/")
        let prefix = root == [slash] ? root : root + [slash]
        guard path.starts(with: prefix), path.count > prefix.count else { return nil }
        return Array(path.dropFirst(prefix.count))
    }

    // MARK: Restoring

    private static let keptFlags = O_ACCMODE | O_SYNC | O_DSYNC | O_APPEND

    /// Gives a share that has nothing but its root what a client holds.
    func restore(_ saved: SavedShare, _ numbers: DescriptorNumbers) throws {
        guard readOnly == saved.readOnly, exceptSubmounts == saved.exceptSubmounts, cache == saved.cache, mayMap == saved.isMapped else {
            throw SnapshotError("\(title) is given in another way")
        }
        guard (InodeTable.rootNumber + 1...NodeID.inodeLimit).contains(saved.nextNode) else { throw SnapshotError("\(title): numbers of files") }
        let rootDescriptor = try root.descriptor
        for node in saved.nodes {
            guard (InodeTable.rootNumber..<saved.nextNode).contains(node.number), (node.number == InodeTable.rootNumber) == node.path.isEmpty else {
                throw SnapshotError("\(title): number of a file")
            }
            let file = try find(node, below: rootDescriptor)
            guard try adopt(node, file.metadata, file.descriptor) else { throw SnapshotError("\(title): \(Self.text(node)) is there twice") }
        }
        guard saved.nodes.contains(where: { $0.number == InodeTable.rootNumber }) else { throw SnapshotError("\(title): no root") }
        setNextNode(saved.nextNode)
        for file in saved.files {
            let inode = try inode(file.node)
            guard try adopt(file.handle, try open(inode, file.flags, numbers)) else { throw SnapshotError("\(title): number of an open file") }
        }
        for piece in saved.mapped {
            let inode = try inode(piece.node)
            guard inode.kind == .regular, !piece.isWritable || isWritable(inode) else { throw SnapshotError("\(title): what is mapped") }
            let file = try numbers.reopen(inode.descriptor, piece.isWritable ? O_RDWR : O_RDONLY)
            try show(file, of: inode, from: piece.offset, count: piece.count, at: piece.position, isWritable: piece.isWritable)
        }
    }

    private func isWritable(_ inode: Inode) -> Bool { (try? checkWritable(inode)) != nil }

    private static func text(_ node: SavedShare.Node) -> String { "/" + String(decoding: node.path, as: UTF8.self) }

    /// The file at a node's path, if it is the one it was.
    private func find(_ node: SavedShare.Node, below root: Descriptor) throws -> (descriptor: Descriptor, metadata: FileMetadata) {
        let descriptor: Descriptor
        do throws(SystemError) { descriptor = try node.path.isEmpty ? root : root.openBelow(node.path) } catch {
            if error.errno == .noSuchFileOrDirectory || error.errno == .notDirectory { throw SnapshotError("\(title): \(Self.text(node)) is not there any more") }
            throw SnapshotError("\(title): \(Self.text(node)): \(error.errno)")
        }
        let metadata = try descriptor.metadata()
        guard let now = FileIdentity(metadata), now.inode == node.identity.inode, now.kind == node.identity.kind, now.born == node.identity.born else {
            throw SnapshotError("\(title): \(Self.text(node)) is another file now")
        }
        guard now.version == node.identity.version else { throw SnapshotError("\(title): \(Self.text(node)) has changed since") }
        return (descriptor, metadata)
    }

    private func open(_ inode: Inode, _ flags: Int32, _ numbers: DescriptorNumbers) throws -> OpenFile {
        switch inode.kind {
        case .directory: return OpenFile(inode, try numbers.reopen(inode.descriptor, O_RDONLY | O_DIRECTORY), isWritable: false)
        case .regular: break
        default: throw SnapshotError("\(title): an open file that is none")
        }
        let isWritable = flags & O_ACCMODE != O_RDONLY
        guard flags & O_ACCMODE != O_ACCMODE, !isWritable || self.isWritable(inode) else { throw SnapshotError("\(title): how a file is open") }
        let kept = flags & Self.keptFlags
        let file = OpenFile(inode, try numbers.reopen(inode.descriptor, kept & ~O_APPEND), isWritable: isWritable)
        try file.setAppending(kept & O_APPEND != 0)
        return file
    }
}
