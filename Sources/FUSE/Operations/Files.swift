import Glibc
import Linux

/// Opening, closing, reading and writing regular files.
extension RequestWorker {
    /// Of the guest's flags, those that mean something to a file of the host. Not among them: O_APPEND
    /// (``OpenFile/setAppending(_:)``), O_DIRECT (guest pages need not be aligned as the disk wants).
    private static let openFlags = O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC

    func open(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let flags = Int32(bitPattern: try request.read(UInt32.self))
        let openFlags: UInt32 = try request.read()
        let opened = try openFile(target(request.node), flags, killPrivileges: openFlags & OpenRequestFlags.killPrivileges != 0)
        try reply.write(opened)
    }

    /// What OPEN and CREATE answer.
    struct Opened {
        let handle: UInt64
        let flags: UInt32
    }

    func openFile(_ target: Target, _ flags: Int32, killPrivileges: Bool) throws(SystemError) -> Opened {
        switch target.inode.kind {
        case .regular: break
        case .directory: throw SystemError("open", .isDirectory)
        // Opening a FIFO would block, a device do who knows what. The guest opens its own.
        default: throw SystemError("open: not a regular file", .notPermitted)
        }
        try checkAccess(target, flags)
        try target.share.checkRoomForFile()
        context.dropSetID(killPrivileges)
        let descriptor = try server.numbers.reopen(target.inode.descriptor, flags & Self.openFlags)
        return try insert(OpenFile(target.inode, descriptor, isWritable: flags & O_ACCMODE != O_RDONLY), target.share)
    }

    /// Enters a file just opened among the share's.
    func insert(_ file: OpenFile, _ share: Share) throws(SystemError) -> Opened {
        var flags: UInt32 = 0
        if try share.mayKeepPages(file.inode) { flags |= OpenReplyFlags.keepCache }
        // A FLUSH at each close is for errors only a remote file system reports so late.
        if !share.isRemote || !file.isWritable { flags |= OpenReplyFlags.noFlush }
        return Opened(handle: try share.insert(file), flags: flags)
    }

    private func checkAccess(_ target: Target, _ flags: Int32) throws(SystemError) {
        guard flags & O_ACCMODE != O_ACCMODE else { throw SystemError("open", .invalidArgument) }
        if flags & O_ACCMODE != O_RDONLY || flags & O_TRUNC != 0 { try target.share.checkWritable(target.inode) }
    }

    func read(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let (_, file) = try file(request.node, request.read())
        let offset = try request.offset()
        let size: UInt32 = try request.read()
        try reply.fill(from: file.descriptor, at: offset, count: Int(size))
    }

    func write(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let (_, file) = try file(request.node, request.read())
        let offset = try request.offset()
        let size: UInt32 = try request.read()
        let writeFlags: UInt32 = try request.read()
        try request.skip(8)  // lock owner
        let flags = Int32(bitPattern: try request.read(UInt32.self))
        try request.skip(4)
        context.dropSetID(writeFlags & WriteFlags.killPrivileges != 0)
        // Where the end is only the host knows for sure. Pages from the cache go where they were read.
        try file.setAppending(flags & O_APPEND != 0 && writeFlags & WriteFlags.cache == 0)
        let written = try request.drain(Int(size), to: file.descriptor, at: offset)
        try reply.write(UInt32(clamping: written))
        try reply.write(UInt32(0))
    }

    func flush(_ request: inout Request) throws(SystemError) {
        let (share, file) = try file(request.node, request.read())
        if share.isRemote, file.isWritable { try file.descriptor.flush() }
    }

    func release(_ request: inout Request) throws(SystemError) {
        let share = try server.shares.share(request.node.share)
        let file = try share.close(request.read())
        if file.isWritable { share.noteWritten(file.inode) }
    }

    func synchronize(_ request: inout Request) throws(SystemError) {
        let (_, file) = try file(request.node, request.read())
        let flags: UInt32 = try request.read()
        try file.descriptor.synchronize(dataOnly: flags & 1 != 0)
    }

    func allocate(_ request: inout Request) throws(SystemError) {
        let (_, file) = try file(request.node, request.read())
        let offset = try request.offset()
        let count = try request.offset()
        try file.descriptor.allocate(mode: Int32(bitPattern: request.read(UInt32.self)), at: offset, count: count)
    }

    func seek(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let (_, file) = try file(request.node, request.read())
        let offset = try request.offset()
        let whence = Int32(bitPattern: try request.read(UInt32.self))
        // The guest's kernel knows positions itself; holes it must ask for.
        guard let kind = FileRegion(whence: whence), file.inode.kind == .regular else { throw SystemError("lseek", .invalidArgument) }
        try reply.write(file.descriptor.find(kind, from: offset))
    }

    /// Bytes copied for one request at most; the guest asks again for the rest.
    private static let copyLimit: Int64 = 64 << 20

    func copyFileRange(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let (share, source) = try file(request.node, request.read())
        let offset = try request.offset()
        let targetNode = NodeID(rawValue: try request.read())
        let targetHandle: UInt64 = try request.read()
        let targetOffset = try request.offset()
        let count: UInt64 = try request.read()
        guard targetNode.share == request.node.share else { throw SystemError("copy between shares", .improperLink) }
        let copied = try source.descriptor.copyRange(
            at: offset, to: share.file(targetHandle).descriptor, at: targetOffset, count: Int(min(count, UInt64(Self.copyLimit))))
        try reply.write(UInt32(clamping: copied))
        try reply.write(UInt32(0))
    }
}

extension Reply {
    /// struct fuse_open_out.
    mutating func write(_ opened: RequestWorker.Opened) throws(SystemError) {
        try write(opened.handle)
        try write(opened.flags)
        try write(UInt32(0))
    }
}
