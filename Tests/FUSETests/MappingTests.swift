import FUSE
import Glibc
import Linux
import Testing

@Suite("file server: files seen in place")
struct MappingTests {
    private static let dax: UInt32 = 2
    private static let mapAlignment: UInt32 = 1 << 26
    private static let page = 4096
    private static let size = 20 * page

    private let folder = try! TestFolder()
    private let window = try! MappingWindow(count: 64 * page)

    private func start(readOnly: Bool = false, isMapped: Bool = true) throws -> (client: Client, file: Client.Entry) {
        let client = try Client(window: window)
        try folder.write("f", String(repeating: "a", count: Self.size))
        try client.shares.add("s", root: folder.open(), readOnly: readOnly, isMapped: isMapped)
        return (client, try client.lookUp("f", in: try client.walk("s")))
    }

    /// What the guest would see at `position`; nil where it would fault. The kernel looks, so nobody is hurt.
    private func seen(_ position: Int, _ count: Int = 4) throws -> String? {
        let (reading, writing) = try Descriptor.pipe()
        guard Glibc.write(writing.raw, window.mapping.base + position, count) == count else { return nil }
        return String(decoding: try reading.read(upTo: count), as: UTF8.self)
    }

    @Test("only large regular files of mapped shares say that they are seen in place")
    func attributes() throws {
        let (client, file) = try start()
        #expect(file.attributes.flags & Self.dax != 0)
        #expect(try client.attributes(file.node).flags & Self.dax != 0)
        try folder.write("small", "x")
        #expect(try client.lookUp("small", in: client.walk("s")).attributes.flags & Self.dax == 0)
        #expect(try start(isMapped: false).file.attributes.flags & Self.dax == 0)
    }

    @Test("a client is offered mappings only where there is a window")
    func negotiation() throws {
        let flags = Client.linuxFlags | Self.mapAlignment
        #expect(try Client(window: window, initialize: false).initialize(flags: flags).flags & Self.mapAlignment != 0)
        #expect(try Client(initialize: false).initialize(flags: flags).flags & Self.mapAlignment == 0)
    }

    @Test("a mapping shows the file, writes to it go through, and taken away it shows nothing")
    func mapping() throws {
        let (client, file) = try start()
        #expect(try seen(8 * Self.page) == nil)
        try client.map(file.node, from: Self.page, count: 2 * Self.page, at: 8 * Self.page, isWritable: true)
        #expect(try seen(8 * Self.page) == "aaaa")
        memcpy(window.mapping.base + 8 * Self.page, "wxyz", 4)
        #expect(try folder.read("f").dropFirst(Self.page).prefix(5) == "wxyza")
        try client.unmap(file.node, [(8 * Self.page, 2 * Self.page)])
        #expect(try seen(8 * Self.page) == nil)
        #expect(try seen(9 * Self.page) == nil)
    }

    @Test("a read-only share is not mapped for writing, and an unmapped one not at all")
    func readOnly() throws {
        let (client, file) = try start(readOnly: true)
        #expect(throws: Client.Failure(errno: .readOnlyFileSystem)) {
            try client.map(file.node, from: 0, count: Self.page, at: 0, isWritable: true)
        }
        try client.map(file.node, from: 0, count: Self.page, at: 0)
        #expect(try seen(0) == "aaaa")
        let (other, unmapped) = try start(isMapped: false)
        #expect(throws: Client.Failure(errno: .noFunction)) { try other.map(unmapped.node, from: 0, count: Self.page, at: 4 * Self.page) }
    }

    @Test("what is not whole pages of the window, or no regular file, is refused and changes nothing")
    func hostile() throws {
        let (client, file) = try start()
        let end = window.count
        for (from, count, position) in [
            (0, Self.page, end), (0, 2 * Self.page, end - Self.page), (0, 0, 0), (1, Self.page, 0), (0, 1, 0), (0, Self.page, 1),
            (0, Int.max, 0), (0, Self.page, Int.max), (-1, Self.page, 0), (0, -4096, 0), (0, Self.page, -4096), (Int.min, Self.page, 0),
        ] {
            #expect(throws: Client.Failure(errno: .invalidArgument), "\(from) \(count) \(position)") {
                try client.map(file.node, from: from, count: count, at: position)
            }
        }
        #expect(throws: Client.Failure(errno: .invalidArgument)) { try client.map(client.walk("s"), from: 0, count: Self.page, at: 0) }
        #expect(throws: Client.Failure(errno: .invalidArgument)) { try client.unmap(file.node, [(end, Self.page)]) }
        #expect(throws: Client.Failure(errno: .invalidArgument)) { try client.unmap(file.node, [], claimed: .max) }
        #expect(try seen(0) == nil)
    }

    @Test("nothing of a share that is gone, or of a client that starts over, stays in sight")
    func removal() throws {
        let (client, file) = try start()
        try client.map(file.node, from: 0, count: Self.page, at: 0)
        try client.shares.remove("s")
        #expect(try seen(0) == nil)
        let (again, other) = try start()
        try again.map(other.node, from: 0, count: Self.page, at: Self.page)
        #expect(try seen(Self.page) == "aaaa")
        _ = try again.initialize()
        #expect(try seen(Self.page) == nil)
    }
}

extension Client {
    fileprivate func map(_ node: UInt64, from offset: Int, count: Int, at position: Int, isWritable: Bool = false) throws {
        let numbers = [offset, count].map { UInt64(bitPattern: Int64($0)) }
        let body = Bytes(UInt64.max, numbers[0], numbers[1], UInt64(isWritable ? 1 : 0), UInt64(bitPattern: Int64(position)))
        try call(.setUpMapping, node, body.bytes)
    }

    fileprivate func unmap(_ node: UInt64, _ ranges: [(position: Int, count: Int)], claimed: UInt32? = nil) throws {
        var body = Bytes(claimed ?? UInt32(ranges.count))
        for range in ranges {
            body.add(UInt64(range.position))
            body.add(UInt64(range.count))
        }
        try call(.removeMapping, node, body.bytes)
    }
}
