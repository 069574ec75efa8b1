import CLinux
import FUSE
import Glibc
import Linux
import Testing

/// A client that goes on with another server, as in a restored machine.
@Suite("file server: snapshots")
struct SnapshotTests {
    private static let page = 4096
    private let folder = try! TestFolder()

    private func start(window: MappingWindow? = nil, restoring state: [UInt8]? = nil, readOnly: Bool = false) throws -> Client {
        let client = try Client(window: window, initialize: state == nil)
        try client.shares.add("s", root: folder.open(), readOnly: readOnly, isMapped: window != nil)
        if let state { try client.server.restoreState(state) }
        return client
    }

    private func expectRefusal(_ words: String, _ location: SourceLocation = #_sourceLocation, _ body: () throws -> Void) {
        #expect(sourceLocation: location) { try body() } throws: { "\($0)".contains(words) }
    }

    @Test("nodes, open files and directories are the same in another server")
    func goesOn() throws {
        try folder.write("f", "first second")
        try folder.makeDirectory("d")
        try folder.write("d/g", "deep")
        try folder.write("log", "a")
        let first = try start()
        let share = try first.walk("s")
        let f = try first.lookUp("f", in: share)
        _ = try first.lookUp("f", in: share)
        let (d, g) = (try first.walk("s/d"), try first.walk("s/d/g"))
        let log = try first.lookUp("log", in: share).node
        let reading = try first.open(f.node)
        _ = try first.open(g)
        let writing = try first.open(log, O_WRONLY)
        let appending = try first.open(log, O_WRONLY)
        #expect(try first.write(log, appending.handle, Array("b".utf8), flags: O_APPEND) == 1)
        let listing = try first.openDirectory(d)
        try first.release(g, 1)

        let second = try start(restoring: first.server.savedState())
        #expect(try second.read(f.node, reading.handle, at: 6) == Array("second".utf8))
        #expect(try second.attributes(g).size == 4)
        #expect(throws: Client.Failure(errno: .badFileDescriptor)) { try second.read(g, 1) }
        #expect(try second.readDirectory(d, listing.handle).contains { $0.name == "g" })
        #expect(try second.write(log, appending.handle, Array("c".utf8), flags: O_APPEND) == 1)
        #expect(try second.write(log, writing.handle, Array("A".utf8)) == 1)
        #expect(try folder.read("log") == "Abc")
        // The handle that was free is given again, and a new node has a number of its own.
        #expect(try second.open(g).handle == 1)
        try folder.write("new", "n")
        let new = try second.lookUp("new", in: share)
        #expect(![share, f.node, d, g, log].contains(new.node))
        // It was looked up twice, and once more here.
        #expect(try second.lookUp("f", in: share).node == f.node)
        try second.forget(f.node, 2)
        #expect(try second.attributes(f.node).size == 12)
        try second.release(f.node, reading.handle)
        try second.forget(f.node, 1)
        #expect(throws: Client.Failure(errno: .staleNFSFileHandle)) { try second.attributes(f.node) }
    }

    @Test("a file under another name is found, one that has changed, gone or is another is refused by its name")
    func refusals() throws {
        try folder.write("f", "content")
        try folder.makeDirectory("d")
        try folder.write("d/g", "deep")
        let first = try start()
        for path in ["s/f", "s/d/g"] { _ = try first.walk(path) }
        rename(folder.path + "/d", folder.path + "/e")
        let state = try first.server.savedState()
        _ = try start(restoring: state)

        rename(folder.path + "/e/g", folder.path + "/e/h")
        expectRefusal("share s: /e/g is not there any more") { _ = try start(restoring: state) }
        try folder.write("e/g", "deep")
        expectRefusal("share s: /e/g is another file now") { _ = try start(restoring: state) }
        rename(folder.path + "/e/h", folder.path + "/e/g")
        _ = try start(restoring: state)
        try folder.write("f", "CONTENT")
        expectRefusal("share s: /f has changed since") { _ = try start(restoring: state) }
    }

    @Test("shares must be there, given in the same way; others are new to the client")
    func otherShares() throws {
        try folder.write("f", "content")
        let first = try start()
        let f = try first.walk("s/f")
        let state = try first.server.savedState()
        expectRefusal("share s is missing") { try Client(initialize: false).server.restoreState(state) }
        expectRefusal("given in another way") { _ = try start(restoring: state, readOnly: true) }
        let other = try TestFolder()
        let second = try Client(initialize: false)
        for (name, root) in [("t", other), ("s", folder)] { try second.shares.add(name, root: root.open(), readOnly: false) }
        try second.server.restoreState(state)
        #expect(try second.attributes(f).size == 7)
        #expect(try second.walk("t") != second.walk("s"))
        #expect(try second.list(Client.root) == ["s", "t"])
        let third = try Client(initialize: false)
        try third.shares.add("s", root: other.open(), readOnly: false)
        expectRefusal("share s: / is another file now") { try third.server.restoreState(state) }
    }

    @Test("an open file without a name cannot be saved; one that is only remembered becomes stale")
    func deleted() throws {
        for name in ["open", "known"] { try folder.write(name, "x") }
        let first = try start()
        let (open, known) = (try first.walk("s/open"), try first.walk("s/known"))
        let handle = try first.open(open).handle
        for name in ["open", "known"] { unlink("\(folder.path)/\(name)") }
        expectRefusal("/open (deleted) is open and could not be found again") { _ = try first.server.savedState() }
        try first.release(open, handle)
        let second = try start(restoring: first.server.savedState())
        #expect(throws: Client.Failure(errno: .staleNFSFileHandle)) { try second.attributes(known) }
    }

    @Test("what was shown in the window is shown again")
    func mappings() throws {
        let windows = [try MappingWindow(count: 64 * Self.page), try MappingWindow(count: 64 * Self.page)]
        try folder.write("f", String(repeating: "a", count: 20 * Self.page - 4) + "last")
        let first = try start(window: windows[0])
        let f = try first.walk("s/f")
        let body = Bytes(UInt64.max, UInt64(18 * Self.page), UInt64(2 * Self.page), UInt64(1), UInt64(8 * Self.page))
        try first.call(.setUpMapping, f, body.bytes)
        let state = try first.server.savedState()
        let second = try start(window: windows[1], restoring: state)
        let end = windows[1].mapping.base + 10 * Self.page - 4
        #expect(memcmp(end, "last", 4) == 0)
        memcpy(end, "LAST", 4)
        #expect(try folder.read("f").hasSuffix("LAST"))
        // It goes as it came.
        try second.call(.removeMapping, f, Bytes(UInt32(1), UInt64(8 * Self.page), UInt64(2 * Self.page)).bytes)
        expectRefusal("given in another way") { _ = try start(restoring: state) }
    }

    @Test("a state may be anything: it is taken or refused, and never leads out of the share")
    func hostile() throws {
        try folder.makeDirectory("root")
        try folder.write("secret", "secret")
        try folder.write("root/f", "content")
        symlink("../secret", folder.path + "/root/link")
        let first = try Client()
        try first.shares.add("s", root: Descriptor.open(folder.path + "/root", O_PATH), readOnly: true)
        for path in ["s/f", "s/link"] { _ = try first.walk(path) }
        _ = try first.open(first.walk("s/f"))
        let state = try first.server.savedState()
        // The path of `f` is one byte long: it may become these, of the same length with its count changed.
        guard let place = state.indices.first(where: { state[$0...].starts(with: [1, 0, 0, 0, UInt8(ascii: "f")]) }) else {
            throw SystemError("no path in the state", .ioError)
        }
        for path in ["../secret", "link", "/etc/passwd", "", ".", "..", "f/../../secret", "link/x"] {
            var forged = state
            forged.replaceSubrange(place..<place + 5, with: Bytes(UInt32(path.utf8.count), Array(path.utf8)).bytes)
            #expect(throws: (any Error).self, "\(path)") { try restore(forged) }
        }
        var generator = SystemRandomNumberGenerator()
        var taken = 0
        for _ in 0..<3_000 {
            var forged = state
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                let position = Int.random(in: 0..<forged.count, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: forged[position] = UInt8.random(in: 0...255, using: &generator)
                case 1: for index in position..<min(position + 4, forged.count) { forged[index] = 0xff }
                case 2: forged.removeSubrange(position..<min(position + Int.random(in: 1...16, using: &generator), forged.count))
                default: forged.insert(contentsOf: [UInt8](repeating: 0xff, count: 8), at: position)
                }
                if forged.isEmpty { forged = [0] }
            }
            if (try? restore(forged)) != nil { taken += 1 }
        }
        #expect(taken > 0)

        func restore(_ state: [UInt8]) throws {
            let shares = ShareTable()
            try shares.add("s", root: Descriptor.open(folder.path + "/root", O_PATH), readOnly: true)
            try FileServer(shares: shares).restoreState(state)
        }
    }
}
