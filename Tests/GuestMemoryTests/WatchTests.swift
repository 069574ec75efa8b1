import GuestMemory
import Glibc
import Linux
import Testing

@Suite("guest memory: touched pages")
struct WatchTests {
    private static let page = 4096
    private static let high: UInt64 = 0x1_0000_0000
    private static let ranges: [(guestAddress: UInt64, count: Int)] = [(0, 1024 * page), (high, 64 * page)]

    /// A file whose data are these pages; on a disk, for on tmpfs what is a hole may be in memory too.
    private func file(_ pages: some Sequence<Int>) throws -> Descriptor {
        let file = try makeMemoryFile("memory", count: 1088 * Self.page)
        for page in pages { _ = try file.write([UInt8](repeating: 7, count: Self.page), at: page * Self.page) }
        return file
    }

    private func watched(_ file: Descriptor) throws -> GuestMemory {
        let memory = try GuestMemory.map(file, Self.ranges)
        try memory.watch(file, by: Descriptor.open("/proc/self/pagemap", O_RDONLY))
        return memory
    }

    private func touch(_ memory: GuestMemory, _ page: Int, write: Bool = false) throws {
        let address = page < 1024 ? UInt64(page * Self.page) : Self.high + UInt64((page - 1024) * Self.page)
        let slice = try memory.slice(address, 1)
        if write { try slice.write([1]) } else { _ = try slice.bytes(count: 1) }
    }

    /// First page and number of pages of each run.
    private func touched(_ memory: GuestMemory) throws -> [[UInt64]] { try memory.touchedPages().map { [$0.first, $0.count] } }

    private func written(_ memory: GuestMemory) throws -> [[UInt64]] { try memory.writtenPages().map { [$0.first, $0.count] } }

    @Test("pages that were written to are told as often as asked for, those between and around them not")
    func written() throws {
        let memory = try watched(file(0..<1088))
        #expect(try written(memory) == [])
        for page in [7, 8, 10, 1023, 1024] { try touch(memory, page, write: true) }
        try touch(memory, 9)
        try touch(memory, 500)
        #expect(try written(memory) == [[7, 2], [10, 1], [1023, 2]])
        try touch(memory, 501, write: true)
        #expect(try written(memory) == [[7, 2], [10, 1], [501, 1], [1023, 2]])
        #expect(try touched(memory).count > 1)
        #expect(try written(memory) == [])
    }

    @Test("pages made ready for writing are the machine's own, with the file's content; others, and those that do not exist, are left alone")
    func prefault() throws {
        let memory = try watched(file(0..<1088))
        let hostile = [(5000, 1), (1088, 1), (UInt64.max, 1), (UInt64.max, UInt64.max), (3, 0)].map { PageRun(first: $0.0, count: $0.1) }
        memory.prefault([PageRun(first: 3, count: 2), PageRun(first: 1023, count: 2)] + hostile + [PageRun(first: 1087, count: .max)])
        #expect(try written(memory) == [[3, 2], [1023, 2], [1087, 1]])
        #expect(try memory.slice(3 * 4096, 4096).bytes(count: 4096) == [UInt8](repeating: 7, count: 4096))
    }

    @Test("pages that were read or written are told, with no more around them than a piece of the mapping, and once")
    func readAndWritten() throws {
        let memory = try watched(file(0..<1088))
        try touch(memory, 100)
        try touch(memory, 501, write: true)
        try touch(memory, 1030)
        // Of what is around a page the kernel maps what it can have without waiting.
        let runs = try touched(memory)
        try #require(runs.count == 3)
        for (run, (piece, page)) in zip(runs, [(100..<104, 100), (501..<502, 501), (1028..<1032, 1030)]) {
            let pages = run[0]..<run[0] + run[1]
            #expect(pages.contains(UInt64(page)) && piece.contains(Int(run[0])) && piece.contains(Int(pages.upperBound) - 1), "\(run)")
        }
        #expect(try touched(memory) == [])
    }

    @Test("small gaps are filled, larger ones are not, and holes are left out")
    func gaps() throws {
        let memory = try watched(file([0, 10, 17, 34, 52]))
        for page in [0, 17, 34, 52, 200] { try touch(memory, page, write: true) }
        #expect(try touched(memory) == [[0, 35], [52, 1]])
    }

    @Test("what is not watched tells nothing")
    func unwatched() throws {
        let memory = try GuestMemory.map(file(0..<64), Self.ranges)
        try touch(memory, 3)
        #expect(try touched(memory) == [])
    }

    @Test("there are no more runs than a message holds: larger gaps are filled")
    func many() throws {
        let count = 20 * 1024
        let file = try makeMemoryFile("memory", count: count * Self.page)
        for page in stride(from: 0, to: count, by: 40) { _ = try file.write([7], at: page * Self.page) }
        let memory = try GuestMemory.map(file, [(0, count * Self.page)])
        try memory.watch(file, by: Descriptor.open("/proc/self/pagemap", O_RDONLY))
        for page in stride(from: 0, to: count, by: 40) { _ = try memory.slice(UInt64(page * Self.page), 1).bytes(count: 1) }
        #expect(try touched(memory) == [[0, UInt64(count - 40 + 1)]])
    }

    @Test("memory that was added beside is not the file's")
    func added() throws {
        let file = try file(0..<8)
        let memory = try GuestMemory.map(file, Self.ranges).adding(0x2_0000_0000, count: 2 << 20)
        try memory.watch(file, by: Descriptor.open("/proc/self/pagemap", O_RDONLY))
        _ = try memory.slice(0x2_0000_0000, 1).write([1])
        #expect(try touched(memory) == [])
        let other = try GuestMemory.map(file, Self.ranges).adding(0x2_0000_0000, count: 2 << 20)
        try other.watch(file, by: Descriptor.open("/proc/self/pagemap", O_RDONLY))
        try touch(other, 1, write: true)
        #expect(try touched(other) == [[1, 1]])
    }
}
