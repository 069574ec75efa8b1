import Linux

/// Names of files that exist: given, changed, taken away.
extension RequestWorker {
    func link(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let old = try target(NodeID(rawValue: request.read()))
        let parent = try writableTarget(request.node)
        let name = try request.name()
        guard old.share === parent.share else { throw SystemError("link between shares", .improperLink) }
        try server.numbers.link(old.inode.descriptor, in: parent.inode.descriptor, name)
        try reply.write(find(name, in: parent))
    }

    func readLink(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let target = try target(request.node)
        guard target.inode.kind == .symbolicLink else { throw SystemError("readlink", .invalidArgument) }
        try reply.write(target.inode.descriptor.linkTarget())
    }

    func unlink(_ request: inout Request) throws(SystemError) {
        let parent = try writableTarget(request.node)
        try parent.inode.descriptor.removeFile(request.name())
    }

    func removeDirectory(_ request: inout Request) throws(SystemError) {
        let parent = try writableTarget(request.node)
        try parent.inode.descriptor.removeDirectory(request.name())
    }

    /// - Parameter flags: whether the request is a RENAME2.
    func rename(_ request: inout Request, flags: Bool) throws(SystemError) {
        let parent = try writableTarget(request.node)
        let newNode = NodeID(rawValue: try request.read())
        var renameFlags: UInt32 = 0
        if flags {
            renameFlags = try request.read()
            try request.skip(4)
        }
        let name = try request.name()
        let newName = try request.name()
        guard newNode.share == request.node.share else { throw SystemError("rename between shares", .improperLink) }
        let newParent = try target(newNode)
        try parent.inode.descriptor.rename(name, to: newParent.inode.descriptor, newName, flags: renameFlags)
    }
}
