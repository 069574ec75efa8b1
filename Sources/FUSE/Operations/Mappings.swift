import Glibc
import Linux

/// FUSE_SETUPMAPPING and FUSE_REMOVEMAPPING: files the guest reads and writes in place, without a copy in its page cache (DAX).
extension RequestWorker {
    private static let isWritable: UInt64 = 1 << 0

    private func checkWindow() throws(SystemError) {
        if server.shares.window == nil { throw SystemError("map: there is no window", .noFunction) }
    }

    func setUpMapping(_ request: inout Request) throws(SystemError) {
        try checkWindow()
        try request.skip(8)  // the handle, which Linux does not give
        let offset = try request.offset()
        let count = try request.offset()
        let flags: UInt64 = try request.read()
        let position = try request.offset()
        let target = try target(request.node)
        guard target.inode.kind == .regular else { throw SystemError("map: not a regular file", .invalidArgument) }
        let isWritable = flags & Self.isWritable != 0
        if isWritable { try target.share.checkWritable(target.inode) }
        let file = try server.numbers.reopen(target.inode.descriptor, isWritable ? O_RDWR : O_RDONLY)
        try target.share.show(file, of: target.inode, from: offset, count: Int(count), at: Int(position), isWritable: isWritable)
    }

    func removeMapping(_ request: inout Request) throws(SystemError) {
        try checkWindow()
        let count: UInt32 = try request.read()
        let share = try server.shares.share(request.node.share)
        // A count that lies ends with the request's bytes.
        for _ in 0..<count {
            let position = try request.offset()
            let length = try request.offset()
            try share.hide(at: Int(position), count: Int(length))
        }
    }
}
