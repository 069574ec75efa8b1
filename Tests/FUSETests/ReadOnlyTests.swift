import FUSE
import Glibc
import Linux
import Testing

@Suite("file server: read-only shares")
struct ReadOnlyTests {
    private let folder = try! TestFolder()
    private let client: Client
    private let top: UInt64
    private let file: UInt64
    /// MNT_DETACH.
    private let detach: Int32 = 2

    init() throws {
        try folder.write("f", "text", mode: 0o666)
        try folder.makeDirectory("d")
        client = try Client()
        try client.shares.add("s", root: folder.open(), readOnly: true)
        top = try client.walk("s")
        file = try client.walk("s/f")
    }

    @Test("every operation that changes something is refused, whatever the guest thinks of its mount")
    func mutations() throws {
        let opened = try client.open(file)
        let operations: [(String, () throws -> Void)] = [
            ("create", { _ = try client.create("x", in: top) }),
            ("create, exists", { _ = try client.create("f", in: top, O_RDONLY) }),
            ("tmpfile", { _ = try client.create("/", in: top, opcode: .temporaryFile) }),
            ("mkdir", { _ = try client.makeDirectory("x", in: top) }),
            ("mknod", { _ = try client.makeNode("x", in: top, mode: S_IFREG | 0o600) }),
            ("symlink", { _ = try client.makeSymbolicLink("x", in: top, to: "f") }),
            ("link", { _ = try client.link(file, as: "x", in: top) }),
            ("unlink", { try client.call(.unlink, top, Bytes("f").bytes) }),
            ("rmdir", { try client.call(.removeDirectory, top, Bytes("d").bytes) }),
            ("rename", { try client.rename("f", in: top, to: "g", in: top) }),
            ("rename2", { try client.rename("f", in: top, to: "d", in: top, flags: 2) }),
            ("chmod", { _ = try client.setAttributes(file, valid: 1, mode: 0o777) }),
            ("chown", { _ = try client.setAttributes(file, valid: 2, owner: 7) }),
            ("truncate", { _ = try client.setAttributes(file, valid: 8) }),
            ("truncate by handle", { _ = try client.setAttributes(file, valid: 8 | 64, handle: opened.handle) }),
            ("utimes", { _ = try client.setAttributes(file, valid: 32, time: 1) }),
            ("setxattr", { try client.setExtended(file, "user.x", [1]) }),
            ("removexattr", { try client.call(.removeExtendedAttribute, file, Bytes("user.x").bytes) }),
            ("open for writing", { _ = try client.open(file, O_WRONLY) }),
            ("open for both", { _ = try client.open(file, O_RDWR) }),
            ("open truncating", { _ = try client.open(file, O_RDONLY | O_TRUNC) }),
            ("access", { try client.call(.access, file, Bytes(UInt32(2), UInt32(0)).bytes) }),
        ]
        for (name, operation) in operations {
            #expect(throws: Client.Failure(errno: .readOnlyFileSystem), "\(name)") { try operation() }
        }
        for body in [
            { _ = try client.write(file, opened.handle, [1]) },
            { try client.call(.allocate, file, Bytes(opened.handle, UInt64(0), UInt64(10), UInt32(0), UInt32(0)).bytes) },
            {
                try client.call(
                    .copyFileRange, file, Bytes(opened.handle, UInt64(0), file, opened.handle, UInt64(4), UInt64(1), UInt64(0)).bytes)
            },
        ] as [() throws -> Void] {
            #expect(throws: Client.Failure(errno: .badFileDescriptor)) { try body() }
        }
        #expect(try folder.read("f") == "text")
        #expect(try folder.open().entryNames().sorted() == ["d", "f"])
    }

    @Test("but for what is mounted below, if asked for", .enabled(if: geteuid() == 0))
    func submounts() throws {
        try mountFileSystem("tmpfs", on: folder.path + "/d")
        defer { try? unmountFileSystem(folder.path + "/d", flags: detach) }
        let client = try Client()
        try client.shares.add("s", root: folder.open(), readOnly: true, exceptSubmounts: true)
        let (top, below) = (try client.walk("s"), try client.walk("s/d"))
        #expect(throws: Client.Failure(errno: .readOnlyFileSystem)) { _ = try client.create("x", in: top) }
        #expect(throws: Client.Failure(errno: .readOnlyFileSystem)) { _ = try client.open(client.walk("s/f"), O_WRONLY) }
        let made = try client.create("x", in: below)
        #expect(try client.write(made.entry.node, made.opened.handle, [1]) == 1)
        try client.call(.access, below, Bytes(UInt32(2), UInt32(0)).bytes)
    }

    @Test("reading works")
    func reading() throws {
        #expect(try client.read(file, client.open(file).handle) == Array("text".utf8))
        #expect(try client.list(top) == ["d", "f"])
        try client.call(.access, file, Bytes(UInt32(4), UInt32(0)).bytes)
    }
}
