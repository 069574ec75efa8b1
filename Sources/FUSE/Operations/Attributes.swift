import Glibc
import Linux

extension RequestWorker {
    func getAttributes(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        if try isSynthetic(request.node) { return try reply.write(attributes: .synthetic, valid: 1) }
        let target = try target(request.node)
        try write(target.inode.descriptor.metadata(), of: target.share, &reply)
    }

    func statx(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        if try isSynthetic(request.node) { return try reply.write(extendedAttributes: .synthetic, valid: 1) }
        let target = try target(request.node)
        try reply.write(extendedAttributes: target.inode.descriptor.metadata(), valid: target.share.cache.validity)
    }

    func setAttributes(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let target = try writableTarget(request.node)
        let change = try AttributeRequest(&request)
        let file = target.inode.descriptor
        if change.has(AttributeChange.mode) { try server.numbers.changeMode(file, change.mode & 0o7777) }
        if change.has(AttributeChange.user | AttributeChange.group) {
            try file.changeOwner(
                user: change.has(AttributeChange.user) ? change.user : nil, group: change.has(AttributeChange.group) ? change.group : nil)
        }
        if change.has(AttributeChange.size) { try truncate(target, change) }
        if change.has(AttributeChange.accessTime | AttributeChange.modificationTime) {
            try file.changeTimes(accessed: change.accessed, modified: change.modified)
        }
        try write(file.metadata(), of: target.share, &reply)
    }

    private func write(_ metadata: FileMetadata, of share: Share, _ reply: inout Reply) throws(SystemError) {
        try reply.write(attributes: metadata, valid: share.cache.validity, flags: share.mappingFlags(metadata))
    }

    private func truncate(_ target: Target, _ change: AttributeRequest) throws(SystemError) {
        guard let size = Int64(exactly: change.size) else { throw SystemError("truncate", .fileTooLarge) }
        guard target.inode.kind == .regular else { throw SystemError("truncate", .invalidArgument) }
        context.dropSetID(change.has(AttributeChange.killPrivileges))
        if change.has(AttributeChange.handle), let open = try? target.share.file(change.handle), open.isWritable {
            return try open.descriptor.truncate(to: size)
        }
        try server.numbers.reopen(target.inode.descriptor, O_WRONLY).truncate(to: size)
    }

    /// The guest's kernel checks permissions itself (default_permissions) and hardly asks.
    func access(_ request: inout Request) throws(SystemError) {
        let mask: UInt32 = try request.read()
        if try isSynthetic(request.node) {
            guard mask & UInt32(W_OK) == 0 else { throw SystemError("access", .readOnlyFileSystem) }
            return
        }
        let target = try target(request.node)
        if mask & UInt32(W_OK) != 0 { try target.share.checkWritable(target.inode) }
        let metadata = try target.inode.descriptor.metadata()
        guard request.user != 0 else { return }
        let shift: UInt32 = metadata.user == request.user ? 6 : metadata.group == request.group ? 3 : 0
        guard metadata.mode >> shift & mask & 7 == mask & 7 else { throw SystemError("access", .permissionDenied) }
    }

    func fileSystemStatistics(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        if try isSynthetic(request.node) {
            try reply.zeroes(40)
            for value: UInt32 in [4096, 255, 4096] { try reply.write(value) }
            return try reply.zeroes(28)
        }
        let room = try target(request.node).inode.descriptor.room()
        for value in [room.blocks, room.freeBlocks, room.availableBlocks, room.files, room.freeFiles] { try reply.write(value) }
        for value in [room.blockSize, room.nameLength, room.fragmentSize] { try reply.write(value) }
        try reply.zeroes(28)
    }
}

/// struct fuse_setattr_in.
private struct AttributeRequest {
    let valid: UInt32
    let handle, size: UInt64
    let mode, user, group: UInt32
    private let accessTime, modificationTime: FileTime

    init(_ request: inout Request) throws(SystemError) {
        valid = try request.read()
        try request.skip(4)
        handle = try request.read()
        size = try request.read()
        try request.skip(8)  // lock owner
        let accessed: Int64 = try request.read()
        let modified: Int64 = try request.read()
        try request.skip(8)  // time of change
        accessTime = FileTime(seconds: accessed, nanoseconds: try request.read())
        modificationTime = FileTime(seconds: modified, nanoseconds: try request.read())
        try request.skip(4)
        mode = try request.read()
        try request.skip(4)
        user = try request.read()
        group = try request.read()
    }

    func has(_ bits: UInt32) -> Bool { valid & bits != 0 }

    var accessed: FileTimeChange {
        has(AttributeChange.accessTimeNow) ? .now : has(AttributeChange.accessTime) ? .set(accessTime) : .keep
    }

    var modified: FileTimeChange {
        has(AttributeChange.modificationTimeNow) ? .now : has(AttributeChange.modificationTime) ? .set(modificationTime) : .keep
    }
}

extension FileMetadata {
    /// A directory that is nowhere but here.
    static var synthetic: FileMetadata {
        var metadata = FileMetadata()
        metadata.inode = 1
        metadata.mode = FileKind.directory.rawValue | 0o555
        metadata.links = 2
        metadata.blockSize = 4096
        return metadata
    }
}
