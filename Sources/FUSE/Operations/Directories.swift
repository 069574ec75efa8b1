import Glibc
import Linux

extension RequestWorker {
    func openDirectory(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        if try isSynthetic(request.node) { return try reply.write(Opened(handle: 0, flags: 0)) }
        let target = try target(request.node)
        guard target.inode.kind == .directory else { throw SystemError("opendir", .notDirectory) }
        try target.share.checkRoomForFile()
        let descriptor = try server.numbers.reopen(target.inode.descriptor, O_RDONLY | O_DIRECTORY)
        let handle = try target.share.insert(OpenFile(target.inode, descriptor, isWritable: false))
        let cached = OpenReplyFlags.keepCache | OpenReplyFlags.cacheDirectory
        try reply.write(Opened(handle: handle, flags: target.share.cache == .always ? cached : 0))
    }

    func releaseDirectory(_ request: inout Request) throws(SystemError) {
        if try isSynthetic(request.node) { return }
        _ = try server.shares.share(request.node.share).close(request.read())
    }

    func synchronizeDirectory(_ request: inout Request) throws(SystemError) {
        if try !isSynthetic(request.node) { try synchronize(&request) }
    }

    /// Of the whole file system a share is on, or of all shares'.
    func synchronizeFileSystem(_ request: inout Request) throws(SystemError) {
        let shares = request.node == .root ? server.shares.all : [try server.shares.share(request.node.share)]
        for share in shares where !share.readOnly || share.exceptSubmounts {
            try server.numbers.reopen(share.root.descriptor, O_RDONLY).synchronizeFileSystem()
        }
    }

    // MARK: Reading entries

    func readDirectory(_ request: inout Request, _ reply: inout Reply, plus: Bool) throws(SystemError) {
        let handle: UInt64 = try request.read()
        let offset = try request.offset()
        var writer = EntryWriter(plus: plus, room: min(Int(try request.read(UInt32.self)), reply.remaining))
        if request.node == .root { return try readRoot(from: offset, &writer, &reply) }
        // Its entry has no name until it is asked for.
        if try isSynthetic(request.node) { return }
        let (share, file) = try file(request.node, handle)
        guard file.inode.kind == .directory else { throw SystemError("readdir", .notDirectory) }
        let directory = Target(share: share, inode: file.inode)
        // An entry here takes about what it takes in an answer, or a fifth of it with attributes. What does
        // not fit is read again: the guest's next offset is the truth.
        try entries.read(file.descriptor, from: offset, limit: max(writer.room / (plus ? 5 : 1), 320))
        while let next = entries.next() {
            guard writer.fits(next.name.count) else {
                if writer.count == 0 { throw SystemError("readdir: no room", .invalidArgument) }
                return
            }
            let name = entries.bytes[next.name]
            var found: Entry?
            // Not `.` and `..`, which are no names. What vanished meanwhile the guest looks up when it must.
            if plus, let name = FileName(name) { found = try? find(name, in: directory) }
            try writer.write(name, inode: next.inode, type: UInt32(next.type), next: next.next, found, &reply)
        }
    }

    /// The root's entries: offsets are share numbers.
    private func readRoot(from offset: Int64, _ writer: inout EntryWriter, _ reply: inout Reply) throws(SystemError) {
        for share in server.shares.all where Int64(share.number) > offset {
            let name = share.name.string.bytes
            guard writer.fits(name.count) else { return }
            let root = try share.root
            try writer.write(
                name[...], inode: root.key.inode, type: root.kind.entryType, next: Int64(share.number),
                writer.plus ? entry(share) : nil, &reply)
        }
    }
}

/// Writes struct fuse_dirent or fuse_direntplus records.
private struct EntryWriter {
    let plus: Bool
    /// Bytes left.
    private(set) var room: Int
    /// Records written.
    private(set) var count = 0

    init(plus: Bool, room: Int) {
        self.plus = plus
        self.room = room
    }

    private func size(_ nameLength: Int) -> Int { (plus ? Reply.entrySize : 0) + (24 + nameLength + 7) & ~7 }

    func fits(_ nameLength: Int) -> Bool { size(nameLength) <= room }

    mutating func write(
        _ name: ArraySlice<UInt8>, inode: UInt64, type: UInt32, next: Int64, _ entry: Entry?, _ reply: inout Reply
    ) throws(SystemError) {
        // Without an entry the node is 0: nothing was looked up.
        if plus {
            if let entry { try reply.write(entry) } else { try reply.zeroes(Reply.entrySize) }
        }
        try reply.write(inode)
        try reply.write(next)
        try reply.write(UInt32(name.count))
        try reply.write(type)
        try reply.write(name)
        try reply.zeroes((8 - name.count % 8) % 8)
        room -= size(name.count)
        count += 1
    }
}
