import CLinux
import FUSE
import Glibc
import Linux
import Testing

@Suite("file server: passing through to a directory")
struct PassthroughTests {
    private let folder = try! TestFolder()
    private let client: Client
    private let top: UInt64

    init() throws {
        client = try Client()
        try client.shares.add("s", root: folder.open(), readOnly: false)
        top = try client.walk("s")
    }

    private func refuses(_ errno: Errno, _ body: () throws -> Void, _ location: SourceLocation = #_sourceLocation) {
        #expect(throws: Client.Failure(errno: errno), sourceLocation: location, performing: body)
    }

    @Test("a file made by the guest is on the host, with its content and mode")
    func createAndWrite() throws {
        let (entry, opened) = try client.create("new", in: top, mode: 0o640)
        #expect(try client.write(entry.node, opened.handle, Array("hello".utf8)) == 5)
        #expect(try client.write(entry.node, opened.handle, Array("!".utf8), at: 5) == 1)
        #expect(try client.read(entry.node, opened.handle, at: 1) == Array("ello!".utf8))
        try client.release(entry.node, opened.handle)
        #expect(try folder.read("new") == "hello!")
        #expect(try folder.status("new").st_mode == S_IFREG | 0o640)
        #expect(try client.lookUp("new", in: top).node == entry.node)
    }

    @Test("CREATE of what exists opens it, unless it must not exist")
    func createExisting() throws {
        try folder.write("f", "old")
        refuses(.fileExists) { _ = try client.create("f", in: top, O_RDWR | O_EXCL) }
        let (entry, opened) = try client.create("f", in: top)
        #expect(try client.read(entry.node, opened.handle) == Array("old".utf8))
        _ = try client.create("f", in: top, O_RDWR | O_TRUNC)
        #expect(try folder.read("f").isEmpty)
        try folder.makeDirectory("d")
        refuses(.isDirectory) { _ = try client.create("d", in: top) }
    }

    @Test("a file of the host is found, read and described")
    func readExisting() throws {
        try folder.write("a", "text", mode: 0o755)
        let entry = try client.lookUp("a", in: top)
        #expect(entry.attributes.size == 4)
        #expect(entry.attributes.mode == S_IFREG | 0o755)
        #expect(entry.attributes.inode == UInt64(try folder.status("a").st_ino))
        let opened = try client.open(entry.node)
        #expect(try client.read(entry.node, opened.handle) == Array("text".utf8))
        #expect(try client.read(entry.node, opened.handle, at: 4).isEmpty)
        refuses(.badFileDescriptor) { _ = try client.write(entry.node, opened.handle, [1]) }
        var statx = Reader(try client.call(.statx, entry.node, [UInt8](repeating: 0, count: 24)))
        _ = try statx.take(32)
        #expect(try statx.u32() & 0x7ff == 0x7ff)
        _ = try statx.take(4 + 8 + 4 + 8)
        #expect(UInt32(try statx.u16()) == S_IFREG | 0o755)
    }

    @Test("directories are listed whole, however small the guest's buffer", arguments: [false, true], [408, 512, 4096, 100_000])
    func listing(plus: Bool, count: Int) throws {
        let names = ((0..<300).map { "entry-\($0)" } + [String(repeating: "x", count: 255)]).sorted()
        for name in names { try folder.write(name, "") }
        #expect(try client.list(top, count: count, plus: plus) == names)
        // Again, from the start of an open directory.
        let handle = try client.openDirectory(top).handle
        let first = try client.readDirectory(top, handle, plus: plus).map(\.name)
        _ = try client.readDirectory(top, handle, from: client.readDirectory(top, handle, plus: plus).last?.next ?? 0, plus: plus)
        #expect(try client.readDirectory(top, handle, plus: plus).map(\.name) == first)
        refuses(.invalidArgument) { _ = try client.readDirectory(top, handle, count: 20, plus: plus) }
    }

    @Test("a listing with attributes looks its entries up")
    func listingLooksUp() throws {
        try folder.write("f", "text")
        symlink("f", folder.path + "/l")
        let handle = try client.openDirectory(top).handle
        let entries = try client.readDirectory(top, handle, plus: true)
        let file = try #require(entries.first { $0.name == "f" })
        #expect((file.entry?.attributes.size, file.type) == (4, 8))
        #expect(entries.first { $0.name == "l" }?.type == 10)
        #expect(entries.first { $0.name == "." }?.entry?.node == 0)
        let node = try #require(file.entry).node
        #expect(try client.lookUp("f", in: top).node == node)
        try client.forget(node, 2)
        refuses(.staleNFSFileHandle) { _ = try client.attributes(node) }
    }

    @Test("names are given, changed and taken away")
    func names() throws {
        let directory = try client.makeDirectory("d", in: top, mode: 0o750)
        #expect(try folder.status("d").st_mode == S_IFDIR | 0o750)
        let (file, _) = try client.create("f", in: top)
        #expect(try client.link(file.node, as: "g", in: directory.node).node == file.node)
        #expect(try client.attributes(file.node).links == 2)
        _ = try client.makeSymbolicLink("l", in: directory.node, to: "../f")
        #expect(try folder.status("d/l").st_mode & S_IFMT == S_IFLNK)
        try client.rename("f", in: top, to: "moved", in: directory.node)
        #expect(try client.lookUp("moved", in: directory.node).node == file.node)
        refuses(.fileExists) { try client.rename("moved", in: directory.node, to: "g", in: directory.node, flags: 1) }
        try client.rename("moved", in: directory.node, to: "l", in: directory.node, flags: 2)
        #expect(try folder.status("d/moved").st_mode & S_IFMT == S_IFLNK)
        refuses(.directoryNotEmpty) { try client.call(.removeDirectory, top, Bytes("d").bytes) }
        for name in ["g", "l", "moved"] { try client.call(.unlink, directory.node, Bytes(name).bytes) }
        try client.call(.removeDirectory, top, Bytes("d").bytes)
        // The guest may hold what has no name any more.
        #expect(try client.attributes(file.node).links == 0)
        #expect(try folder.open().entryNames().isEmpty)
    }

    @Test("attributes change as asked and nothing else does")
    func attributes() throws {
        try folder.write("f", "0123456789", mode: 0o600)
        let file = try client.walk("s/f")
        #expect(try client.setAttributes(file, valid: 1, mode: 0o100_751).mode == S_IFREG | 0o751)
        #expect(try client.setAttributes(file, valid: 8, size: 4).size == 4)
        let opened = try client.open(file, O_RDWR)
        #expect(try client.setAttributes(file, valid: 8 | 64, handle: opened.handle, size: 7).size == 7)
        #expect(try client.setAttributes(file, valid: 32, time: 12_345).modified == 12_345)
        #expect(try folder.status("f").st_atim.tv_sec != 12_345)
        #expect(try client.setAttributes(file, valid: 32 | 256).modified > 1_600_000_000)
        if geteuid() == 0 { #expect(try client.setAttributes(file, valid: 4, owner: 55).group == 55) }
        #expect(try folder.status("f").st_uid == geteuid())
    }

    @Test("an appending write goes to the end the host knows, a page from the cache where it belongs")
    func append() throws {
        try folder.write("log", "one")
        let file = try client.walk("s/log")
        let opened = try client.open(file, O_WRONLY | O_APPEND)
        try folder.write("log", "one two")
        #expect(try client.write(file, opened.handle, Array("!".utf8), at: 3, flags: O_APPEND) == 1)
        #expect(try folder.read("log") == "one two!")
        #expect(try client.write(file, opened.handle, Array("ONE".utf8), at: 0, flags: O_APPEND, writeFlags: 1) == 3)
        #expect(try folder.read("log") == "ONE two!")
    }

    @Test("an appending write goes to the end on overlayfs too", .enabled(if: geteuid() == 0))
    func appendOnOverlay() throws {
        for name in ["lower", "upper", "work", "merged"] { try folder.makeDirectory(name) }
        try folder.write("lower/log", "one")
        let merged = folder.path + "/merged"
        let options = ["lower", "upper", "work"].map { "\($0)dir=\(folder.path)/\($0)" }.joined(separator: ",")
        // Where one may not mount, or the folder is on an overlay itself.
        guard mount("overlay", merged, "overlay", 0, options) == 0 else { return }
        defer { umount2(merged, Int32(MNT_DETACH)) }
        try client.shares.add("overlay", root: Descriptor.open(merged, O_RDONLY), readOnly: false)
        let file = try client.walk("overlay/log")
        let opened = try client.open(file, O_WRONLY | O_APPEND)
        for text in [" two", " three"] { _ = try client.write(file, opened.handle, Array(text.utf8), flags: O_APPEND) }
        #expect(try folder.read("merged/log") == "one two three")
        _ = try client.write(file, opened.handle, Array("ONE".utf8), flags: O_APPEND, writeFlags: 1)
        #expect(try folder.read("merged/log") == "ONE two three")
        try client.shares.remove("overlay")
    }

    @Test("OPEN truncates where it is asked to")
    func truncatingOpen() throws {
        try folder.write("f", "text")
        _ = try client.open(client.walk("s/f"), O_WRONLY | O_TRUNC)
        #expect(try folder.read("f").isEmpty)
    }

    @Test("a file without a name can be written, and given one")
    func temporaryFile() throws {
        let (entry, opened) = try client.create("/", in: top, opcode: .temporaryFile)
        #expect(try client.write(entry.node, opened.handle, [65]) == 1)
        #expect(try folder.open().entryNames().isEmpty)
        _ = try client.link(entry.node, as: "named", in: top)
        #expect(try folder.read("named") == "A")
    }

    @Test("holes are made, found and copied")
    func sparse() throws {
        let (entry, opened) = try client.create("f", in: top)
        try client.call(.allocate, entry.node, Bytes(opened.handle, UInt64(0), UInt64(8192), UInt32(0), UInt32(0)).bytes)
        #expect(try client.attributes(entry.node).size == 8192)
        _ = try client.write(entry.node, opened.handle, [1], at: 1 << 20)
        _ = try client.setAttributes(entry.node, valid: 8, size: 2 << 20)
        var reader = Reader(try client.call(.seek, entry.node, Bytes(opened.handle, UInt64(512 << 10), UInt32(3), UInt32(0)).bytes))
        #expect(try reader.u64() == 1 << 20)
        refuses(.invalidArgument) { try client.call(.seek, entry.node, Bytes(opened.handle, UInt64(0), UInt32(0), UInt32(0)).bytes) }
        let (copy, copyOpened) = try client.create("g", in: top)
        let body = Bytes(opened.handle, UInt64(1 << 20), copy.node, copyOpened.handle, UInt64(0), UInt64(1), UInt64(0)).bytes
        #expect(try client.call(.copyFileRange, entry.node, body) == Bytes(UInt64(1)).bytes)
        #expect(try client.read(copy.node, copyOpened.handle) == [1])
    }

    @Test("FSYNC, FSYNCDIR, SYNCFS and FLUSH succeed")
    func synchronizing() throws {
        let (entry, opened) = try client.create("f", in: top)
        for flag in [0, 1] as [UInt32] { try client.call(.synchronize, entry.node, Bytes(opened.handle, flag, UInt32(0)).bytes) }
        try client.call(.flush, entry.node, Bytes(opened.handle, UInt64(0), UInt64(0)).bytes)
        let directory = try client.openDirectory(top)
        try client.call(.synchronizeDirectory, top, Bytes(directory.handle, UInt64(0)).bytes)
        try client.call(.synchronizeFileSystem, top, Bytes(UInt64(0)).bytes)
    }

    @Test("large transfers cross many pages at once", arguments: [4096, 1000, 1 << 20])
    func large(piece: Int) throws {
        let data = (0..<1 << 20).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 9) }
        let (entry, opened) = try client.create("f", in: top)
        let write = Bytes(opened.handle, UInt64(0), UInt32(data.count), UInt32(0), UInt64(0), UInt64(0), data).bytes
        // A system call takes 1,024 pieces; a short write is for the guest to go on with.
        let answer = try client.exchange(client.message(.write, entry.node, write), room: 24, piece: piece)
        var reader = Reader(Array(answer.dropFirst(16)))
        let written = Int(try reader.u32())
        #expect(written == data.count || piece == 1000 && written > 1_000_000)
        let read = Bytes(opened.handle, UInt64(0), UInt32(written), UInt32(0), UInt64(0), UInt64(0)).bytes
        let back = try client.exchange(client.message(.read, entry.node, read), room: 16 + written, piece: piece)
        #expect(back.dropFirst(16).elementsEqual(data.prefix(back.count - 16)))
        #expect(back.count > 1_000_000)
    }
}
