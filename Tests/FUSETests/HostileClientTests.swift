import CLinux
import FUSE
import Glibc
import Linux
import Testing

@Suite("file server: a client that lies")
struct HostileClientTests {
    private let folder = try! TestFolder()
    private let client: Client
    private let top: UInt64

    init() throws {
        try folder.write("f", "text")
        client = try Client()
        try client.shares.add("s", root: folder.open(), readOnly: false)
        top = try client.walk("s")
    }

    private func refuses(_ errno: Errno, _ body: () throws -> Void, _ location: SourceLocation = #_sourceLocation) {
        #expect(throws: Client.Failure(errno: errno), sourceLocation: location, performing: body)
    }

    @Test("a name is one name", arguments: ["", ".", "..", "/", "a/b", "/etc/passwd", "../f", "f/"])
    func names(name: String) throws {
        let file = try client.walk("s/f")
        refuses(.invalidArgument) { _ = try client.lookUp(name, in: top) }
        refuses(.invalidArgument) { _ = try client.lookUp(name, in: Client.root) }
        refuses(.invalidArgument) { _ = try client.create(name, in: top) }
        refuses(.invalidArgument) { _ = try client.makeDirectory(name, in: top) }
        refuses(.invalidArgument) { _ = try client.makeNode(name, in: top, mode: S_IFREG | 0o600) }
        refuses(.invalidArgument) { _ = try client.makeSymbolicLink(name, in: top, to: "f") }
        refuses(.invalidArgument) { _ = try client.link(file, as: name, in: top) }
        refuses(.invalidArgument) { try client.call(.unlink, top, Bytes(name).bytes) }
        refuses(.invalidArgument) { try client.call(.removeDirectory, top, Bytes(name).bytes) }
        refuses(.invalidArgument) { try client.rename(name, in: top, to: "g", in: top) }
        refuses(.invalidArgument) { try client.rename("f", in: top, to: name, in: top) }
    }

    @Test("a name has an end, and a length")
    func nameLengths() throws {
        refuses(.invalidArgument) { try client.call(.lookup, top, Array("f".utf8)) }
        refuses(.invalidArgument) { try client.call(.lookup, top, []) }
        refuses(.fileNameTooLong) { _ = try client.lookUp(String(repeating: "x", count: 256), in: top) }
        refuses(.fileNameTooLong) { _ = try client.lookUp(String(repeating: "x", count: 100_000), in: top) }
        refuses(.noSuchFileOrDirectory) { _ = try client.lookUp(String(repeating: "x", count: 255), in: top) }
        refuses(.invalidArgument) { try client.call(.rename, top, Bytes(top, "f").bytes) }
        refuses(.fileNameTooLong) { _ = try client.makeSymbolicLink("l", in: top, to: String(repeating: "x", count: 5000)) }
    }

    @Test("symbolic links are read, never followed")
    func symbolicLinks() throws {
        symlink("/etc", folder.path + "/dir")
        symlink("/etc/hostname", folder.path + "/file")
        let (directory, file) = (try client.lookUp("dir", in: top), try client.lookUp("file", in: top))
        #expect(directory.attributes.mode & S_IFMT == S_IFLNK)
        #expect(try client.call(.readLink, directory.node) == Array("/etc".utf8))
        refuses(.notDirectory) { _ = try client.lookUp("hostname", in: directory.node) }
        refuses(.notDirectory) { _ = try client.openDirectory(directory.node) }
        refuses(.notPermitted) { _ = try client.open(file.node) }
        refuses(.invalidArgument) { _ = try client.setAttributes(file.node, valid: 8) }
        // CREATE over a link must not open what it names.
        refuses(.notPermitted) { _ = try client.create("file", in: top) }
        // A hard link to a link is the link.
        #expect(try client.link(file.node, as: "again", in: top).attributes.mode & S_IFMT == S_IFLNK)
        // Attributes are the link's own.
        _ = try client.setAttributes(file.node, valid: 32, time: 1000)
        #expect(try folder.status("file").st_mtim.tv_sec == 1000)
        if geteuid() == 0 {
            _ = try client.setAttributes(file.node, valid: 2 | 4, owner: 77)
            #expect(try folder.status("file").st_uid == 77)
            var target = stat()
            stat("/etc/hostname", &target)
            #expect(target.st_uid != 77)
        }
    }

    @Test("FIFOs, sockets and devices are never opened here, and devices never made")
    func specialFiles() throws {
        mkfifo(folder.path + "/fifo", 0o666)
        let fifo = try client.lookUp("fifo", in: top)
        // It would block for ever.
        for flags in [O_RDONLY, O_WRONLY, O_RDWR] { refuses(.notPermitted) { _ = try client.open(fifo.node, flags) } }
        refuses(.notPermitted) { _ = try client.create("fifo", in: top) }
        refuses(.invalidArgument) { _ = try client.setAttributes(fifo.node, valid: 8) }
        _ = try client.makeNode("made", in: top, mode: S_IFIFO | 0o600)
        _ = try client.makeNode("sock", in: top, mode: S_IFSOCK | 0o600)
        for kind: UInt32 in [S_IFCHR, S_IFBLK] {
            refuses(.notPermitted) { _ = try client.makeNode("dev", in: top, mode: kind | 0o666, device: 0x801) }
        }
        refuses(.notPermitted) { _ = try client.makeNode("dev", in: top, mode: S_IFBLK | 0o666) }
        refuses(.notPermitted) { _ = try client.makeNode("dev", in: top, mode: S_IFDIR | 0o666) }
        refuses(.notPermitted) { _ = try client.makeNode("dev", in: top, mode: 0o666) }
        #expect(!folder.exists("dev"))
        // overlayfs's mark of a removed file.
        if geteuid() == 0 { #expect(try client.makeNode("white", in: top, mode: S_IFCHR).attributes.mode & S_IFMT == S_IFCHR) }
    }

    @Test("unknown nodes and handles are stale or bad")
    func unknownNumbers() throws {
        let file = try client.walk("s/f")
        for node in [0, 2, 99, top + 1000, 77 << 44, 77 << 44 | 1, .max] as [UInt64] where node != top {
            refuses(.staleNFSFileHandle) { _ = try client.attributes(node) }
            refuses(.staleNFSFileHandle) { _ = try client.lookUp("f", in: node) }
            refuses(.staleNFSFileHandle) { _ = try client.link(node, as: "x", in: top) }
        }
        let opened = try client.open(file)
        for handle in [opened.handle + 1, 1 << 32, 1 << 63, .max] as [UInt64] {
            refuses(.badFileDescriptor) { _ = try client.read(file, handle) }
            refuses(.badFileDescriptor) { _ = try client.write(file, handle, [1]) }
            refuses(.badFileDescriptor) { try client.release(file, handle) }
            refuses(.badFileDescriptor) { _ = try client.readDirectory(file, handle) }
            refuses(.badFileDescriptor) { try client.call(.synchronize, file, Bytes(handle, UInt64(0)).bytes) }
        }
        // A file's handle is no directory's and the other way round.
        refuses(.notDirectory) { _ = try client.readDirectory(file, opened.handle) }
        let directory = try client.openDirectory(top)
        refuses(.isDirectory) { _ = try client.read(top, directory.handle) }
        try client.release(file, opened.handle)
        refuses(.badFileDescriptor) { try client.release(file, opened.handle) }
    }

    @Test("forgetting more than was looked up forgets the file and nothing else")
    func forgetting() throws {
        let file = try client.walk("s/f")
        _ = try client.walk("s/f")
        try client.forget(file, 1)
        #expect(try client.attributes(file).size == 4)
        try client.forget(file, .max)
        refuses(.staleNFSFileHandle) { _ = try client.attributes(file) }
        try client.forget(file, 1)
        // Roots stay.
        try client.forget(top, .max)
        try client.forget(Client.root, .max)
        let again = try client.walk("s/f")
        #expect(again != file)
        // A batch that claims more than it holds.
        let batch = Bytes(UInt32.max, UInt32(0), again, UInt64(1), top, UInt64.max).bytes
        #expect(try client.exchange(client.message(.batchForget, 0, batch), room: 64).isEmpty)
        refuses(.staleNFSFileHandle) { _ = try client.attributes(again) }
        #expect(try client.attributes(top).mode & S_IFMT == S_IFDIR)
    }

    @Test("numbers beyond what a file can have are refused")
    func hugeNumbers() throws {
        let file = try client.walk("s/f")
        let opened = try client.open(file, O_RDWR)
        for offset in [1 << 63, .max] as [UInt64] {
            refuses(.invalidArgument) { _ = try client.read(file, opened.handle, at: offset) }
            refuses(.invalidArgument) { _ = try client.write(file, opened.handle, [1], at: offset) }
            refuses(.fileTooLarge) { _ = try client.setAttributes(file, valid: 8, size: offset) }
        }
        #expect(throws: Client.Failure.self) { _ = try client.write(file, opened.handle, [1], at: UInt64(Int64.max)) }
        #expect(throws: Client.Failure.self) { _ = try client.read(file, opened.handle, at: UInt64(Int64.max)) }
        let allocate = Bytes(opened.handle, UInt64(Int64.max), UInt64(Int64.max), UInt32(0), UInt32(0)).bytes
        #expect(throws: Client.Failure.self) { try client.call(.allocate, file, allocate) }
        let copy = Bytes(opened.handle, UInt64(0), file, opened.handle, UInt64(Int64.max), UInt64.max, UInt64.max).bytes
        #expect(throws: Client.Failure.self) { try client.call(.copyFileRange, file, copy) }
        // A size that claims 4 GiB reads what there is.
        #expect(try client.call(.read, file, Bytes(opened.handle, UInt64(0), UInt32.max, UInt32(0), UInt64(0), UInt64(0)).bytes).count == 4)
        // A write that claims more than it brings.
        let write = Bytes(opened.handle, UInt64(0), UInt32.max, UInt32(0), UInt64(0), UInt64(0), [1, 2, 3] as [UInt8]).bytes
        refuses(.invalidArgument) { try client.call(.write, file, write) }
        #expect(try folder.read("f") == "text")
    }

    @Test("offsets into a directory may lie", arguments: [7, 1 << 31, 1 << 62, UInt64(Int64.max), 1 << 63, .max])
    func directoryOffsets(offset: UInt64) throws {
        let directory = try client.openDirectory(top)
        // Whatever the file system answers; the server lives.
        for plus in [false, true] { _ = try? client.readDirectory(top, directory.handle, from: offset, plus: plus) }
        _ = try? client.readDirectory(Client.root, 0, from: offset)
        #expect(try client.list(top) == ["f"])
    }

    @Test("the header's length is checked against what came")
    func lengths() throws {
        var message = client.message(.getAttributes, top, Bytes(UInt64(0), UInt64(0)).bytes)
        for length in [0, 1, 39, UInt32(message.count + 1), .max] as [UInt32] {
            message.replaceSubrange(0..<4, with: Bytes(length).bytes)
            #expect(try client.exchange(message, room: 200).isEmpty)
        }
        for count in 0..<40 { #expect(try client.exchange(Array(message.prefix(count)), room: 200).isEmpty) }
        // What follows the request is not part of it.
        message = client.message(.lookup, top, Bytes("f").bytes) + Array("garbage".utf8)
        #expect(try client.exchange(message, room: 200).count == 16 + 128)
        refuses(.invalidArgument) { try client.call(.getExtendedAttribute, top, [1, 2]) }
        refuses(.invalidArgument) { try client.call(.open, top, [1, 2]) }
    }

    @Test("an answer that does not fit is an error, or none without room for that")
    func smallAnswers() throws {
        let message = client.message(.getAttributes, top, Bytes(UInt64(0), UInt64(0)).bytes)
        for room in 0..<16 { #expect(try client.exchange(message, room: room).isEmpty) }
        for room in [16, 17, 119] {
            let answer = try client.exchange(message, room: room)
            #expect(answer.count == 16)
            #expect(answer[4..<8].elementsEqual(Bytes(-EINVAL).bytes))
        }
        #expect(try client.exchange(message, room: 120).count == 120)
        // Any cut of the buffers is the same to the server.
        for piece in [1, 3, 7, 40, 64] { #expect(try client.exchange(message, room: 200, piece: piece).count == 120) }
    }

    @Test("what could not be answered is not done")
    func createWithoutRoom() throws {
        let body = Bytes(O_RDWR, UInt32(0o100644), UInt32(0), UInt32(0), "new").bytes
        #expect(try client.exchange(client.message(.create, top, body), room: 159).count == 16)
        #expect(!folder.exists("new"))
        #expect(try client.exchange(client.message(.create, top, body), room: 160).count == 160)
    }

    @Test("extended attributes: sizes, names, and what stays hidden")
    func extendedAttributes() throws {
        let file = try client.walk("s/f")
        refuses(.notSupported) { try client.setExtended(file, "trusted.overlay.redirect", [1]) }
        refuses(.notSupported) { _ = try client.getExtended(file, "security.selinux") }
        refuses(.notSupported) { _ = try client.getExtended(file, "") }
        refuses(.fileNameTooLong) { _ = try client.getExtended(file, "user." + String(repeating: "x", count: 300)) }
        refuses(Errno(rawValue: E2BIG)) {
            try client.call(.setExtendedAttribute, file, Bytes(UInt32(65_537), UInt32(0), UInt64(0), "user.x").bytes)
        }
        refuses(.invalidArgument) {
            try client.call(.setExtendedAttribute, file, Bytes(UInt32(60_000), UInt32(0), UInt64(0), "user.x", [UInt8]()).bytes)
        }
        guard setxattr(folder.path + "/f", "user.probe", "1", 1, 0) == 0 else { return }
        try client.setExtended(file, "user.x", Array("value".utf8))
        #expect(try client.getExtended(file, "user.x") == Array("value".utf8))
        #expect(try client.call(.getExtendedAttribute, file, Bytes(UInt32(0), UInt32(0), "user.x").bytes) == Bytes(UInt64(5)).bytes)
        refuses(.outOfRange) { _ = try client.getExtended(file, "user.x", count: 4) }
        refuses(.fileExists) { try client.setExtended(file, "user.x", [], flags: 1) }
        if setxattr(folder.path + "/f", "trusted.hidden", "1", 1, 0) == 0 {
            let names = try client.call(.listExtendedAttributes, file, Bytes(UInt32(1000), UInt32(0)).bytes)
            #expect(names.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }.sorted() == ["user.probe", "user.x"])
        }
        try client.call(.removeExtendedAttribute, file, Bytes("user.x").bytes)
        refuses(Errno(rawValue: ENODATA)) { _ = try client.getExtended(file, "user.x") }
    }

    @Test("nothing is served before FUSE_INIT or after FUSE_DESTROY, and what was held is let go")
    func session() throws {
        let fresh = try Client(initialize: false)
        refuses(.ioError) { _ = try fresh.lookUp("s", in: Client.root) }
        refuses(.protocolError) { _ = try fresh.initialize(major: 6) }
        refuses(.protocolError) { _ = try fresh.initialize(minor: 27) }
        // A newer major version asks again in ours.
        #expect(try fresh.initialize(major: 8).major == 7)
        refuses(.ioError) { _ = try fresh.lookUp("s", in: Client.root) }

        let file = try client.walk("s/f")
        _ = try client.open(file)
        try client.call(.destroy, 0)
        #expect(try folder.openDescriptors() == 1)
        refuses(.ioError) { _ = try client.attributes(file) }
        _ = try client.initialize()
        refuses(.staleNFSFileHandle) { _ = try client.attributes(file) }
    }

    @Test("the client reads ahead no further than the server allows")
    func readahead() throws {
        #expect(try client.initialize().readahead == 131_072)
        #expect(try Client(readahead: 16384, initialize: false).initialize().readahead == 16384)
    }

    @Test("what is not offered is not agreed on")
    func negotiation() throws {
        let agreed = try client.initialize()
        #expect((agreed.major, agreed.maximumPages, agreed.maximumWrite) == (7, 256, 1 << 20))
        // POSIX and BSD locks, write-back cache, automatic and explicit invalidation.
        for bit in [1, 10, 12, 16, 25] as [UInt32] { #expect(agreed.flags >> bit & 1 == 0) }
        #expect(try client.initialize(flags: 0).flags == 0)
        for opcode in [.getLock, .setLock, .setLockWaiting] as [Opcode] {
            refuses(.noFunction) { try client.call(opcode, top, [UInt8](repeating: 0, count: 48)) }
        }
    }

    @Test("unknown requests are answered as such")
    func unknownOpcodes() throws {
        for opcode in [0, 7, 19, 37, 39, 40, 41, 48, 49, 53, 4096, .max] as [UInt32] {
            var message = client.message(.lookup, top, Bytes("f").bytes)
            message.replaceSubrange(4..<8, with: Bytes(opcode).bytes)
            #expect(try client.exchange(message, room: 100)[4..<8].elementsEqual(Bytes(-ENOSYS).bytes))
        }
    }

    @Test("all shares together leave the process some descriptors, and get theirs back")
    func budget() throws {
        let small = try Client(descriptors: 40)
        try small.shares.add("a", root: folder.open(), readOnly: false)
        try small.shares.add("b", root: folder.open(), readOnly: false)
        let file = try small.walk("a/f")
        for round in 0..<3 {
            var handles: [UInt64] = []
            // 20, less two roots and one file.
            for _ in 0..<17 { handles.append(try small.open(file).handle) }
            refuses(.tooManyOpenFilesInSystem) { _ = try small.open(file) }
            refuses(.tooManyOpenFilesInSystem) { _ = try small.walk("b/f") }
            if round == 1 {
                _ = try small.initialize()
                #expect(try small.walk("a/f") == file + 1)
                return
            }
            for handle in handles { try small.release(file, handle) }
        }
    }

    @Test("files known and files open are limited, and refusals leave everything working")
    func limits() throws {
        let small = try Client(limits: ShareLimits(inodes: 10, openFiles: 5))
        try small.shares.add("s", root: folder.open(), readOnly: false)
        let top = try small.walk("s")
        for index in 0..<20 { try folder.write("n\(index)", "") }
        var nodes: [UInt64] = []
        for index in 0..<9 { nodes.append(try small.lookUp("n\(index)", in: top).node) }
        refuses(.tooManyOpenFilesInSystem) { _ = try small.lookUp("n9", in: top) }
        // Known ones still are.
        _ = try small.lookUp("n0", in: top)
        // A listing goes on, with entries the guest has to look up.
        #expect(try small.list(top, plus: true).count == 21)
        try small.forget(nodes[0], 3)
        _ = try small.lookUp("n9", in: top)
        let handles = try (0..<5).map { _ in try small.open(nodes[1]).handle }
        refuses(.tooManyOpenFiles) { _ = try small.open(nodes[1]) }
        refuses(.tooManyOpenFiles) { _ = try small.create("fresh", in: top) }
        #expect(!folder.exists("fresh"))
        try small.release(nodes[1], handles[0])
        _ = try small.open(nodes[1])
    }
}
