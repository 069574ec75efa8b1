import Linux

/// FUSE_INIT and FORGET: what the session is, and what the guest no longer holds.
extension RequestWorker {
    private static let major: UInt32 = 7
    /// FUSE_STATX is of 7.39.
    private static let minor: UInt32 = 39
    /// Of Linux 4.20: FUSE_MAX_PAGES. What is older is no guest of ours.
    private static let oldestMinor: UInt32 = 28
    /// 1 MiB, the most Linux takes (FUSE_MAX_MAX_PAGES).
    private static let maximumPages: UInt16 = 256
    private static let maximumWrite: UInt32 = 256 * 4096
    /// Mappings are of whole pages: the base-2 logarithm of 4,096.
    private static let mapAlignment: UInt16 = 12
    /// Requests the guest may have under way without a task waiting, and from when on it slows down.
    private static let maximumBackground: UInt16 = 64
    private static let congestionThreshold: UInt16 = 48

    func initialize(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let major: UInt32 = try request.read()
        let minor: UInt32 = try request.read()
        let readahead: UInt32 = try request.read()
        var offered = UInt64(try request.read(UInt32.self))
        if offered & InitializeFlags.extended != 0 { offered |= UInt64(try request.read(UInt32.self)) << 32 }
        guard major >= Self.major, major > Self.major || minor >= Self.oldestMinor else {
            throw SystemError("protocol \(major).\(minor)", .protocolError)
        }
        let agreed = offered & (server.shares.window == nil ? InitializeFlags.offered : InitializeFlags.offered | InitializeFlags.mapping)
        // A newer major version only learns ours and asks again.
        if major == Self.major { server.agree(agreed) }
        try reply.write(Self.major)
        try reply.write(Self.minor)
        try reply.write(min(readahead, server.maximumReadahead))
        try reply.write(UInt32(truncatingIfNeeded: agreed))
        try reply.write(Self.maximumBackground)
        try reply.write(Self.congestionThreshold)
        try reply.write(Self.maximumWrite)
        try reply.write(UInt32(1))  // time granularity, ns
        try reply.write(Self.maximumPages)
        try reply.write(server.shares.window == nil ? 0 : Self.mapAlignment)
        try reply.write(UInt32(truncatingIfNeeded: agreed >> 32))
        try reply.zeroes(28)
    }

    func forget(_ node: NodeID, _ count: UInt64) {
        guard let share = try? server.shares.share(node.share) else { return }
        share.forget(node.inode, count)
    }

    func batchForget(_ request: inout Request) throws(SystemError) {
        let count: UInt32 = try request.read()
        try request.skip(4)
        // A count that lies ends with the request's bytes.
        for _ in 0..<count {
            let node = NodeID(rawValue: try request.read())
            forget(node, try request.read())
        }
    }
}
