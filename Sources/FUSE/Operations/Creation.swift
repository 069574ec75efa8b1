import Glibc
import Linux

/// What makes new files: with the user and group of the request, so that they own what they make.
extension RequestWorker {
    /// struct fuse_create_in.
    private struct CreateRequest {
        let flags: Int32
        let mode: UInt32
        let killPrivileges: Bool

        init(_ request: inout Request) throws(SystemError) {
            flags = Int32(bitPattern: try request.read(UInt32.self))
            mode = try request.read(UInt32.self) & 0o7777
            try request.skip(4)  // umask: the guest has applied it
            killPrivileges = try request.read(UInt32.self) & OpenRequestFlags.killPrivileges != 0
            guard flags & O_ACCMODE != O_ACCMODE else { throw SystemError("create", .invalidArgument) }
        }

        var openFlags: Int32 { flags & (O_ACCMODE | O_SYNC | O_DSYNC) }
    }

    func create(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let parent = try writableTarget(request.node)
        let create = try CreateRequest(&request)
        let name = try request.name()
        try parent.share.checkRoomForFile()
        let file: Descriptor
        do {
            file = try context.acting(user: request.user, group: request.group) { () throws(SystemError) in
                try parent.inode.descriptor.createFile(name, create.openFlags, mode: create.mode)
            }
        } catch where error.errno == .fileExists && create.flags & O_EXCL == 0 {
            return try openExisting(name, parent, create, &reply)
        }
        try write(newFile: file, parent, create, &reply)
    }

    /// The name came into being between the guest's LOOKUP and its CREATE.
    private func openExisting(_ name: FileName, _ parent: Target, _ create: CreateRequest, _ reply: inout Reply) throws(SystemError) {
        let entry = try find(name, in: parent)
        do throws(SystemError) {
            let opened = try openFile(target(entry.node), create.flags, killPrivileges: create.killPrivileges)
            try reply.write(entry)
            try reply.write(opened)
        } catch {
            forget(entry.node, 1)
            throw error
        }
    }

    func createTemporary(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let parent = try writableTarget(request.node)
        let create = try CreateRequest(&request)
        try parent.share.checkRoomForFile()
        let file = try context.acting(user: request.user, group: request.group) { () throws(SystemError) in
            try parent.inode.descriptor.createUnnamedFile(create.openFlags | create.flags & O_EXCL, mode: create.mode)
        }
        try write(newFile: file, parent, create, &reply)
    }

    private func write(newFile file: Descriptor, _ parent: Target, _ create: CreateRequest, _ reply: inout Reply) throws(SystemError) {
        // The table holds files unopened: one open for writing could not be executed on the host.
        let path = try server.numbers.path(of: file)
        let metadata = try path.metadata()
        let inode = try parent.share.enter(metadata, path)
        do throws(SystemError) {
            let opened = try insert(OpenFile(inode, file, isWritable: create.openFlags & O_ACCMODE != O_RDONLY), parent.share)
            try reply.write(entry(inode, metadata, parent))
            try reply.write(opened)
        } catch {
            parent.share.forget(inode.number, 1)
            throw error
        }
    }

    func makeNode(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let parent = try writableTarget(request.node)
        let mode: UInt32 = try request.read()
        let device: UInt32 = try request.read()
        try request.skip(8)
        let name = try request.name()
        switch FileKind(mode: mode) {
        case .regular, .fifo, .socket: break
        // overlayfs marks removed files with device 0:0. Any other would be a device of the host.
        case .characterDevice where device == 0: break
        default: throw SystemError("mknod", .notPermitted)
        }
        try make(&request, parent) { () throws(SystemError) in
            try parent.inode.descriptor.makeNode(name, mode: mode, device: 0)
        }
        try reply.write(find(name, in: parent))
    }

    func makeDirectory(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let parent = try writableTarget(request.node)
        let mode: UInt32 = try request.read()
        try request.skip(4)
        let name = try request.name()
        try make(&request, parent) { () throws(SystemError) in
            try parent.inode.descriptor.makeDirectory(name, mode: mode & 0o7777)
        }
        try reply.write(find(name, in: parent))
    }

    func makeSymbolicLink(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let parent = try writableTarget(request.node)
        let name = try request.name()
        guard let target = KernelString(try request.string()) else { throw SystemError("symlink", .invalidArgument) }
        try make(&request, parent) { () throws(SystemError) in
            try parent.inode.descriptor.makeSymbolicLink(name, to: target)
        }
        try reply.write(find(name, in: parent))
    }

    private func make(_ request: inout Request, _ parent: Target, _ body: () throws(SystemError) -> Void) throws(SystemError) {
        try context.acting(user: request.user, group: request.group, body)
    }
}
