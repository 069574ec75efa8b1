import GuestMemory
import Linux

/// One thread's way to serve requests. Its operations are in Operations/, a file for each group.
public final class RequestWorker {
    let server: FileServer
    let context: ThreadContext
    /// For directory entries and extended attributes; kept between requests.
    var entries = DirectoryEntries(capacity: 32 << 10)
    var attribute: [UInt8] = []

    init(_ server: FileServer) throws(SystemError) {
        self.server = server
        context = try ThreadContext(server.numbers)
    }

    /// Whether the request in `source` may wait for a disk: such a one must not hold up others.
    public static func mayBlock(_ source: GuestBuffer) -> Bool { Request(source).flatMap { Opcode(rawValue: $0.opcode) }?.mayBlock ?? false }

    /// Serves one request: reads `source`, answers in `target`.
    ///
    /// - Returns: bytes written to `target`; none for what is not answered (FORGET, and requests too broken
    ///   to answer).
    public func handle(_ source: GuestBuffer, _ target: GuestBuffer) -> UInt32 {
        guard var request = Request(source) else { return 0 }
        let opcode = Opcode(rawValue: request.opcode)
        // These have no answer: the guest counts on none.
        switch opcode {
        case .forget, .batchForget, .interrupt:
            try? serveSilently(opcode, &request)
            return 0
        default: break
        }
        guard var reply = Reply(target) else { return 0 }
        do throws(SystemError) {
            guard let opcode else { throw SystemError("unknown request", .noFunction) }
            try serve(opcode, &request, &reply)
            return reply.succeed(request.unique)
        } catch {
            return reply.fail(request.unique, error.errno)
        }
    }

    private func serveSilently(_ opcode: Opcode?, _ request: inout Request) throws(SystemError) {
        switch opcode {
        case .forget: forget(request.node, try request.read())
        case .batchForget: try batchForget(&request)
        // Nothing here waits for something only an interruption could end.
        default: break
        }
    }

    private func serve(_ opcode: Opcode, _ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        guard server.agreed != nil || opcode == .initialize else { throw SystemError("not initialised", .ioError) }
        guard reply.remaining >= opcode.answerSize else { throw SystemError("no room for the answer", .invalidArgument) }
        if opcode != .write { context.dropSetID(false) }
        switch opcode {
        case .initialize: try initialize(&request, &reply)
        case .destroy: server.reset()

        case .lookup: try lookUp(&request, &reply)
        case .getAttributes: try getAttributes(&request, &reply)
        case .setAttributes: try setAttributes(&request, &reply)
        case .statx: try statx(&request, &reply)
        case .access: try access(&request)
        case .fileSystemStatistics: try fileSystemStatistics(&request, &reply)

        case .open: try open(&request, &reply)
        case .read: try read(&request, &reply)
        case .write: try write(&request, &reply)
        case .flush: try flush(&request)
        case .release: try release(&request)
        case .synchronize: try synchronize(&request)
        case .allocate: try allocate(&request)
        case .seek: try seek(&request, &reply)
        case .copyFileRange: try copyFileRange(&request, &reply)
        case .setUpMapping: try setUpMapping(&request)
        case .removeMapping: try removeMapping(&request)

        case .openDirectory: try openDirectory(&request, &reply)
        case .readDirectory: try readDirectory(&request, &reply, plus: false)
        case .readDirectoryPlus: try readDirectory(&request, &reply, plus: true)
        case .releaseDirectory: try releaseDirectory(&request)
        case .synchronizeDirectory: try synchronizeDirectory(&request)
        case .synchronizeFileSystem: try synchronizeFileSystem(&request)

        case .create: try create(&request, &reply)
        case .temporaryFile: try createTemporary(&request, &reply)
        case .makeNode: try makeNode(&request, &reply)
        case .makeDirectory: try makeDirectory(&request, &reply)
        case .symbolicLink: try makeSymbolicLink(&request, &reply)
        case .link: try link(&request, &reply)
        case .readLink: try readLink(&request, &reply)
        case .unlink: try unlink(&request)
        case .removeDirectory: try removeDirectory(&request)
        case .rename: try rename(&request, flags: false)
        case .rename2: try rename(&request, flags: true)

        case .getExtendedAttribute: try getExtendedAttribute(&request, &reply)
        case .listExtendedAttributes: try listExtendedAttributes(&request, &reply)
        case .setExtendedAttribute: try setExtendedAttribute(&request)
        case .removeExtendedAttribute: try removeExtendedAttribute(&request)

        // The guest's kernel keeps locks itself (InitializeFlags).
        case .getLock, .setLock, .setLockWaiting: throw SystemError("locks are the guest's", .noFunction)
        case .forget, .batchForget, .interrupt: break
        }
    }

    // MARK: What requests name

    /// A file and the share it is of.
    struct Target {
        let share: Share
        let inode: Inode
    }

    /// Whether the node is a directory that is nowhere but here: the root, or the holder of a share.
    ///
    /// - Throws: `ESTALE` when that share is gone.
    func isSynthetic(_ node: NodeID) throws(SystemError) -> Bool {
        guard let share = node.heldShare else { return node == .root }
        _ = try server.shares.share(share)
        return true
    }

    /// The file a node number names.
    ///
    /// - Throws: `EROFS` for the root and holders, which nobody can change; `ESTALE` for what is gone.
    func target(_ node: NodeID) throws(SystemError) -> Target {
        if try isSynthetic(node) { throw SystemError("the root of the shares", .readOnlyFileSystem) }
        let share = try server.shares.share(node.share)
        return Target(share: share, inode: try share.inode(node.inode))
    }

    /// The file, which may be changed.
    func writableTarget(_ node: NodeID) throws(SystemError) -> Target {
        let target = try target(node)
        try target.share.checkWritable(target.inode)
        return target
    }

    /// The open file `handle` of the share that `node` is of.
    func file(_ node: NodeID, _ handle: UInt64) throws(SystemError) -> (share: Share, file: OpenFile) {
        let share = try server.shares.share(node.share)
        return (share, try share.file(handle))
    }
}
