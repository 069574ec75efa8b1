import CLinux
import FUSE
import Glibc
import Linux
import Testing

@Suite("file server: shares")
struct ShareTests {
    private let client: Client
    private let folder = try! TestFolder()
    private let other = try! TestFolder()

    init() throws {
        client = try Client()
    }

    private func refuses(_ errno: Errno, _ body: () throws -> Void, _ location: SourceLocation = #_sourceLocation) {
        #expect(throws: Client.Failure(errno: errno), sourceLocation: location, performing: body)
    }

    @Test("the root lists the shares, with attributes or without")
    func rootListing() throws {
        try folder.write("one", "1")
        try client.shares.add("b", root: folder.open(), readOnly: false)
        try client.shares.add("a", root: Descriptor.open(folder.path + "/one", O_RDONLY), readOnly: true)
        for plus in [false, true] {
            #expect(try client.list(Client.root, plus: plus) == ["a", "b"])
            #expect(try client.list(Client.root, count: plus ? 160 : 32, plus: plus) == ["a", "b"])
        }
        #expect(try client.attributes(Client.root).mode == S_IFDIR | 0o555)
    }

    @Test("a share can be one file")
    func singleFile() throws {
        try folder.write("one", "content")
        try client.shares.add("file", root: Descriptor.open(folder.path + "/one", O_PATH), readOnly: false)
        let entry = try client.lookUp("file", in: Client.root)
        #expect(entry.attributes.flags == 0)
        let opened = try client.open(entry.node, O_RDWR)
        #expect(try client.read(entry.node, opened.handle) == Array("content".utf8))
        #expect(try client.write(entry.node, opened.handle, Array("C".utf8)) == 1)
        #expect(try folder.read("one") == "Content")
        refuses(.notDirectory) { _ = try client.lookUp("x", in: entry.node) }
        refuses(.notDirectory) { _ = try client.openDirectory(entry.node) }
    }

    @Test("a share added later is seen at once, one removed is gone at once, and its name may come back")
    func live() throws {
        refuses(.noSuchFileOrDirectory) { _ = try client.lookUp("s", in: Client.root) }
        try folder.write("f", "old")
        try client.shares.add("s", root: folder.open(), readOnly: false)
        let root = try client.lookUp("s", in: Client.root)
        // The guest asks again each time.
        #expect(root.entryValid == 0)
        let file = try client.lookUp("f", in: root.node)
        let opened = try client.open(file.node)

        try client.shares.remove("s")
        refuses(.noSuchFileOrDirectory) { _ = try client.lookUp("s", in: Client.root) }
        refuses(.staleNFSFileHandle) { _ = try client.attributes(root.node) }
        refuses(.staleNFSFileHandle) { _ = try client.read(file.node, opened.handle) }
        try client.forget(file.node, 1)

        try other.write("f", "new")
        try client.shares.add("s", root: other.open(), readOnly: false)
        let again = try client.walk("s/f")
        #expect(again != file.node)
        #expect(try client.read(again, client.open(again).handle) == Array("new".utf8))
        refuses(.staleNFSFileHandle) { _ = try client.attributes(file.node) }
    }

    @Test("a removed share holds nothing open")
    func removalCloses() throws {
        for index in 0..<50 { try folder.write("\(index)", "") }
        try client.shares.add("s", root: folder.open(), readOnly: false)
        let top = try client.walk("s")
        for index in 0..<50 { _ = try client.open(try client.lookUp("\(index)", in: top).node) }
        #expect(try folder.openDescriptors() > 100)
        try client.shares.remove("s")
        #expect(try folder.openDescriptors() == 0)
    }

    @Test("names that are none, names in use and things that are no files are refused")
    func refusals() throws {
        for name in ["", ".", "..", "a/b", "a\0b", String(repeating: "x", count: 256)] {
            #expect(throws: SystemError.self) { try client.shares.add(name, root: folder.open(), readOnly: true) }
        }
        try client.shares.add("s", root: folder.open(), readOnly: true)
        #expect(throws: SystemError.self) { try client.shares.add("s", root: other.open(), readOnly: true) }
        #expect(throws: SystemError.self) { try client.shares.remove("t") }
        #expect(throws: SystemError.self) { try client.shares.add("n", root: Descriptor.open("/dev/null", O_RDONLY), readOnly: true) }
        mkfifo(folder.path + "/fifo", 0o600)
        #expect(throws: SystemError.self) {
            try client.shares.add("p", root: Descriptor.open(folder.path + "/fifo", O_PATH), readOnly: true)
        }
    }

    @Test("nothing can be moved, linked or copied from one share to another")
    func separation() throws {
        try folder.write("f", "text")
        try other.write("g", "")
        try client.shares.add("a", root: folder.open(), readOnly: false)
        try client.shares.add("b", root: other.open(), readOnly: false)
        let (a, b) = (try client.walk("a"), try client.walk("b"))
        let (f, g) = (try client.walk("a/f"), try client.walk("b/g"))
        refuses(.improperLink) { try client.rename("f", in: a, to: "f", in: b) }
        refuses(.improperLink) { try client.rename("f", in: a, to: "f", in: b, flags: 1) }
        refuses(.improperLink) { try client.rename("f", in: a, to: "f", in: Client.root) }
        refuses(.improperLink) { _ = try client.link(f, as: "f", in: b) }
        let (from, to) = (try client.open(f), try client.open(g, O_RDWR))
        let copy = Bytes(from.handle, UInt64(0), g, to.handle, UInt64(0), UInt64(4), UInt64(0)).bytes
        refuses(.improperLink) { try client.call(.copyFileRange, f, copy) }
        #expect(try other.read("g").isEmpty)
    }

    @Test("nobody can change the root")
    func rootIsReadOnly() throws {
        let root = Client.root
        refuses(.readOnlyFileSystem) { _ = try client.create("x", in: root) }
        refuses(.readOnlyFileSystem) { _ = try client.makeDirectory("x", in: root) }
        refuses(.readOnlyFileSystem) { _ = try client.makeNode("x", in: root, mode: S_IFREG) }
        refuses(.readOnlyFileSystem) { _ = try client.makeSymbolicLink("x", in: root, to: "y") }
        refuses(.readOnlyFileSystem) { try client.call(.unlink, root, Bytes("x").bytes) }
        refuses(.readOnlyFileSystem) { _ = try client.setAttributes(root, valid: 1, mode: 0o777) }
        refuses(.readOnlyFileSystem) { try client.setExtended(root, "user.x", []) }
    }

    @Test("a share's root and other file systems in it are submounts, plain directories are not")
    func submounts() throws {
        try folder.makeDirectory("d")
        try client.shares.add("s", root: folder.open(), readOnly: true)
        let entry = try client.lookUp("s", in: Client.root)
        #expect(entry.attributes.flags == 1)
        #expect(try client.lookUp("d", in: entry.node).attributes.flags == 0)
        try client.shares.add("root", root: Descriptor.open("/", O_PATH), readOnly: true)
        let root = try client.lookUp("root", in: Client.root)
        #expect(try client.lookUp("proc", in: root.node).attributes.flags == 1)
    }

    @Test("a share is also the only entry, by any name, of a directory beside it, which nobody can change")
    func holders() throws {
        try folder.write("f", "text")
        try client.shares.add("s", root: folder.open(), readOnly: false)
        try client.shares.add("one", root: Descriptor.open(folder.path + "/f", O_PATH), readOnly: false)
        let root = try client.lookUp("s", in: Client.root)
        let holder = try client.lookUp("s@", in: Client.root)
        #expect(holder.attributes.flags == 1 && holder.attributes.mode == S_IFDIR | 0o555)
        #expect(try client.attributes(holder.node).mode == S_IFDIR | 0o555)
        for name in ["etc", "any name"] {
            let held = try client.lookUp(name, in: holder.node)
            #expect(held.node == root.node && held.attributes.flags == 0 && held.entryValid == 0)
        }
        #expect(try client.read(client.walk("s@/x/f"), client.open(client.walk("s@/x/f")).handle) == Array("text".utf8))
        #expect(try client.lookUp("one@", in: Client.root).attributes.flags == 0)
        #expect(try client.walk("one@/f") == client.walk("one"))
        #expect(try client.list(holder.node).isEmpty)
        refuses(.readOnlyFileSystem) { _ = try client.create("x", in: holder.node) }
        refuses(.noSuchFileOrDirectory) { _ = try client.lookUp("t@", in: Client.root) }
        refuses(.noSuchFileOrDirectory) { _ = try client.lookUp("@", in: Client.root) }
        #expect(throws: SystemError.self) { try client.shares.add("t@", root: folder.open(), readOnly: true) }
        try client.forget(holder.node, 1)
        try client.shares.remove("s")
        refuses(.staleNFSFileHandle) { _ = try client.lookUp("etc", in: holder.node) }
        refuses(.staleNFSFileHandle) { _ = try client.attributes(holder.node) }
    }

    @Test("the room on a share is the room on its file system")
    func room() throws {
        try client.shares.add("s", root: folder.open(), readOnly: true)
        var expected = statfs()
        statfs(folder.path, &expected)
        var reader = Reader(try client.call(.fileSystemStatistics, client.walk("s")))
        #expect(try reader.u64() == UInt64(expected.f_blocks))
        #expect(try client.call(.fileSystemStatistics, Client.root).count == 80)
    }
}
