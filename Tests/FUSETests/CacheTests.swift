import FUSE
import Glibc
import Linux
import Testing

@Suite("file server: what the guest may remember")
struct CacheTests {
    private static let keepCache: UInt32 = 2
    private static let cacheDirectory: UInt32 = 8
    private static let noFlush: UInt32 = 32

    private let folder = try! TestFolder()

    private func start(_ cache: CachePolicy) throws -> (client: Client, top: UInt64) {
        let client = try Client()
        try client.shares.add("s", root: folder.open(), readOnly: false, cache: cache)
        return (client, try client.walk("s"))
    }

    @Test("attributes and names are good for a second, or for a day")
    func validity() throws {
        try folder.write("f", "")
        for (policy, seconds) in [(CachePolicy.auto, 1), (.always, 86_400)] as [(CachePolicy, UInt64)] {
            let (client, top) = try start(policy)
            let entry = try client.lookUp("f", in: top)
            #expect((entry.entryValid, entry.attributesValid) == (seconds, seconds))
        }
    }

    @Test("that a name does not exist is remembered only where the host changes nothing")
    func negative() throws {
        let (auto, autoTop) = try start(.auto)
        #expect(throws: Client.Failure(errno: .noSuchFileOrDirectory)) { _ = try auto.lookUp("x", in: autoTop) }
        let (always, alwaysTop) = try start(.always)
        let entry = try always.lookUp("x", in: alwaysTop)
        #expect((entry.node, entry.entryValid) == (0, 86_400))
    }

    @Test("pages stay over reopening until the host changes the file")
    func pages() throws {
        try folder.write("f", "one")
        let (client, top) = try start(.auto)
        let file = try client.lookUp("f", in: top).node
        #expect(try client.open(file).flags & Self.keepCache == 0)
        #expect(try client.open(file).flags & Self.keepCache != 0)
        try folder.write("f", "other")
        #expect(try client.open(file).flags & Self.keepCache == 0)
        #expect(try client.open(file).flags & Self.keepCache != 0)
    }

    @Test("the guest keeps the pages of what it wrote itself")
    func ownWrites() throws {
        let (client, top) = try start(.auto)
        let (entry, opened) = try client.create("f", in: top)
        _ = try client.write(entry.node, opened.handle, [1, 2, 3])
        try client.release(entry.node, opened.handle)
        #expect(try client.open(entry.node).flags & Self.keepCache != 0)
    }

    @Test("where only the guest writes, pages and directories stay")
    func always() throws {
        try folder.write("f", "one")
        let (client, top) = try start(.always)
        let file = try client.lookUp("f", in: top).node
        #expect(try client.open(file).flags & Self.keepCache != 0)
        #expect(try client.openDirectory(top).flags == Self.keepCache | Self.cacheDirectory)
    }

    @Test("closing a file of a local file system needs no FLUSH")
    func flush() throws {
        let (client, top) = try start(.auto)
        #expect(try client.create("f", in: top).opened.flags & Self.noFlush != 0)
    }
}
