import Glibc
import GuestMemory
import Linux
import Testing

@Suite("guest memory: changes")
struct ChangesTests {
    private static let page = 4096
    private static let high: UInt64 = 0x1_0000_0000
    private static let ranges: [(guestAddress: UInt64, count: Int)] = [(0, 64 * page), (high, 16 * page)]

    private func fill(_ memory: GuestMemory, _ page: Int, _ value: UInt8) throws {
        let address = page < 64 ? UInt64(page * Self.page) : Self.high + UInt64((page - 64) * Self.page)
        try memory.slice(address, UInt64(Self.page)).write([UInt8](repeating: value, count: Self.page))
    }

    /// A file with pages 1, 2, 10 and 70 in it, and memory that has them.
    private func start() throws -> (memory: GuestMemory, base: Descriptor) {
        let memory = try GuestMemory.allocate(Self.ranges).memory
        for page in [1, 2, 10, 70] { try fill(memory, page, UInt8(page)) }
        let base = try makeMemoryFile("base", count: 0)
        _ = try memory.save(to: base)
        return (memory, base)
    }

    private func content(_ memory: GuestMemory) throws -> [UInt8] {
        try Self.ranges.flatMap { try memory.slice($0.guestAddress, UInt64($0.count)).bytes(count: $0.count) }
    }

    @Test("what has changed, come and gone is written, and with the base it is all there", arguments: [false, true])
    func changes(mapped: Bool) throws {
        var (memory, base) = try start()
        // A machine that went on from a snapshot has pages of the file's and its own.
        if mapped { memory = try GuestMemory.map(base, Self.ranges) }
        for (page, value) in [(1, 1), (2, 99), (3, 3), (10, 0), (63, 63), (64, 64), (79, 79)] { try fill(memory, page, UInt8(value)) }
        let file = try makeMemoryFile("changes", count: 0)
        let (runs, hash) = try memory.saveChanges(to: file, since: base)
        let expected: [PageRun] = [.init(first: 2, count: 2), .init(first: 10, count: 1), .init(first: 63, count: 2), .init(first: 79, count: 1)]
        #expect(runs == expected)
        #expect(try GuestMemory.contentHash(of: file) == hash)
        #expect(try file.status().st_blocks * 512 == 5 * Self.page)

        let other = try GuestMemory.map(base, Self.ranges)
        try other.apply(runs, from: file)
        #expect(try content(other) == content(memory))
    }

    @Test("nothing has changed: nothing is written")
    func none() throws {
        let (memory, base) = try start()
        let file = try makeMemoryFile("changes", count: 0)
        #expect(try memory.saveChanges(to: file, since: base).runs.isEmpty)
        #expect(try file.status().st_blocks == 0)
    }

    @Test("runs that are not in order or beyond memory, and files of another size, are refused")
    func hostile() throws {
        let (memory, base) = try start()
        for runs in [[(80, 1)], [(79, 2)], [(0, 0)], [(5, 1), (5, 1)], [(5, 2), (6, 1)], [(9, 1), (1, 1)], [(.max, 1)], [(1, .max)]] as [[(UInt64, UInt64)]] {
            #expect(throws: SystemError.self) { try memory.apply(runs.map { PageRun(first: $0.0, count: $0.1) }, from: base) }
        }
        let short = try makeMemoryFile("short", count: Self.page)
        #expect(throws: SystemError.self) { try memory.apply([], from: short) }
        #expect(throws: SystemError.self) { try memory.saveChanges(to: makeMemoryFile("changes", count: 0), since: short) }
    }

    @Test("large holes of a memory file become zeroes of this machine's own: nothing is added to the file, whatever is written or read")
    func largeHoles() throws {
        let huge = 2 << 20
        let base = try makeMemoryFile("base", count: 8 * huge)
        // Data at a huge page's start, in the middle of one and at an end.
        let places = [huge, 3 * huge + huge / 2, 6 * huge - Self.page]
        for place in places { _ = try base.write([UInt8](repeating: 7, count: Self.page), at: place) }
        let memory = try GuestMemory.map(base, [(0, 5 * huge), (Self.high, 3 * huge)])
        func slice(_ offset: Int) throws -> GuestSlice {
            try memory.slice(offset < 5 * huge ? UInt64(offset) : Self.high + UInt64(offset - 5 * huge), UInt64(Self.page))
        }
        for offset in stride(from: 0, to: 8 * huge, by: Self.page) {
            let expected = [UInt8](repeating: places.contains(offset) ? 7 : 0, count: Self.page)
            #expect(try slice(offset).bytes(count: Self.page) == expected)
        }
        let wholly = 2 * huge
        try slice(wholly).write([1, 2, 3])
        #expect(try base.read(upTo: 3, at: wholly) == [0, 0, 0])
        let saved = try makeMemoryFile("saved", count: 0)
        let runs = try memory.saveChanges(to: saved, since: base).runs
        #expect(runs == [PageRun(first: UInt64(wholly / Self.page), count: 1)])
    }

    @Test("a byte written to a hole of a few huge pages takes one page, whatever the kernel has of larger ones")
    func smallHoles() throws {
        let huge = 2 << 20
        let base = try makeMemoryFile("base", count: 6 * huge)
        _ = try base.write([7], at: 0)
        let memory = try GuestMemory.map(base, [(0, 6 * huge)])
        try memory.slice(UInt64(3 * huge), 1).write([1])
        var isThere = [UInt8](repeating: 0, count: huge / Self.page)
        #expect(unsafe mincore(memory.regions[0].mapping.base + 3 * huge, huge, &isThere) == 0)
        #expect(isThere.count { $0 & 1 != 0 } == 1)
    }
}
