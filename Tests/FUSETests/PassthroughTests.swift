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

    @Test("a file made by the guest is on the host, with its content, mode and owner")
    func createAndWrite() throws {
        client.user = 1000
        client.group = 1001
        chmod(folder.path, 0o777)
        let (entry, opened) = try client.create("new", in: top, mode: 0o640)
        #expect(try client.write(entry.node, opened.handle, Array("hello".utf8)) == 5)
        #expect(try client.write(entry.node, opened.handle, Array("!".utf8), at: 5) == 1)
        #expect(try client.read(entry.node, opened.handle, at: 1) == Array("ello!".utf8))
        try client.release(entry.node, opened.handle)
        #expect(try folder.read("new") == "hello!")
        let status = try folder.status("new")
        #expect(status.st_mode == S_IFREG | 0o640)
        if geteuid() == 0 { #expect((status.st_uid, status.st_gid) == (1000, 1001)) }
    }

    @Test("a file of the host is found, read and described")
    func readExisting() throws {
        try folder.write("a", "text", mode: 0o755)
        let entry = try client.lookUp("a", in: top)
        #expect(entry.attributes.size == 4)
        #expect(entry.attributes.mode == S_IFREG | 0o755)
        let opened = try client.open(entry.node)
        #expect(try client.read(entry.node, opened.handle) == Array("text".utf8))
        #expect(try client.read(entry.node, opened.handle, at: 4).isEmpty)
        #expect(throws: Client.Failure(errno: .badFileDescriptor)) { try client.write(entry.node, opened.handle, [1]) }
    }

    @Test("directories are listed whole, however small the guest's buffer", arguments: [false, true], [320, 512, 4096, 100_000])
    func listing(plus: Bool, count: Int) throws {
        let names = (0..<300).map { "entry-\($0)" }.sorted()
        for name in names { try folder.write(name, "") }
        #expect(try client.list(top, count: count, plus: plus) == names)
    }
}
