import Linux

extension RequestWorker {
    func lookUp(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let name = try request.name()
        if request.node == .root { return try reply.write(rootEntry(name)) }
        if let share = request.node.heldShare { return try reply.write(entry(server.shares.share(share), isHeld: true)) }
        let parent = try target(request.node)
        do {
            try reply.write(find(name, in: parent))
        } catch where error.errno == .noSuchFileOrDirectory && parent.share.cache == .always {
            // Node 0: the guest may remember that there is no such name.
            try reply.write(
                Entry(
                    node: NodeID(rawValue: 0), metadata: FileMetadata(), entryValid: parent.share.cache.validity, attributesValid: 0))
        }
    }

    /// The entry `name` of a directory, looked up once more by the guest.
    func find(_ name: FileName, in parent: Target) throws(SystemError) -> Entry {
        let seen = try parent.inode.descriptor.metadata(of: name)
        // Known files cost one system call. What the number names cannot have changed: the table pins it.
        if let known = parent.share.lookUp(seen) { return entry(known, seen, parent) }
        let descriptor = try parent.inode.descriptor.openPath(name)
        // Looked at again, since another file may have the name by now.
        let metadata = try descriptor.metadata()
        return entry(try parent.share.enter(metadata, descriptor), metadata, parent)
    }

    func entry(_ inode: Inode, _ metadata: FileMetadata, _ parent: Target) -> Entry {
        let validity = parent.share.cache.validity
        // The root of another file system the guest mounts on its own.
        let isSubmount = inode.kind == .directory && inode.key.device != parent.inode.key.device
        return Entry(
            node: parent.share.node(inode), metadata: metadata, entryValid: validity, attributesValid: validity,
            flags: isSubmount ? AttributeFlags.submount : parent.share.mappingFlags(metadata))
    }

    /// An entry of the root: a share, or its holder.
    private func rootEntry(_ name: FileName) throws(SystemError) -> Entry {
        let bytes = name.string.bytes
        guard bytes.last == ShareTable.holderSuffix, let held = FileName(bytes.dropLast()) else { return try entry(server.shares.share(named: name)) }
        let share = try server.shares.share(named: held)
        // What is in a file system of its own is: a directory.
        return Entry(
            node: NodeID(holderOf: share.number), metadata: .synthetic, entryValid: 0, attributesValid: 1,
            flags: try share.root.kind == .directory ? AttributeFlags.submount : 0)
    }

    /// A share as an entry of the root or its holder. Its name may be gone or name another share at any time, so the guest
    /// asks whenever it walks there; containers get at shares by bind mounts, which do not.
    func entry(_ share: Share, isHeld: Bool = false) throws(SystemError) -> Entry {
        let root = try share.root
        let metadata = try root.descriptor.metadata()
        let isSubmount = root.kind == .directory && !isHeld
        return Entry(
            node: share.node(root), metadata: metadata, entryValid: 0, attributesValid: share.cache.validity,
            flags: isSubmount ? AttributeFlags.submount : share.mappingFlags(metadata))
    }
}
