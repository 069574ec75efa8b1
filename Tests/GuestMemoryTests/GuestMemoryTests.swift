import GuestMemory
import Linux
import Testing

@Suite("guest memory: addresses")
struct GuestMemoryTests {
    private static let high: UInt64 = 0x1_0000_0000
    private let memory: GuestMemory
    private let file: Descriptor

    init() throws {
        (memory, file) = try GuestMemory.allocate([(0, 1 << 20), (Self.high, 1 << 16)])
    }

    @Test("what lies in one region can be had, to its last byte", arguments: [(0, 1 << 20), (0, 0), (1 << 20, 0), ((1 << 20) - 1, 1), (high, 1 << 16), (high + 65535, 1)] as [(UInt64, UInt64)])
    func inside(address: UInt64, count: UInt64) throws {
        #expect(try memory.slice(address, count).count == count)
    }

    @Test(
        "what leaves a region, lies in the hole or overflows is refused",
        arguments: [
            (0, (1 << 20) + 1), ((1 << 20) - 1, 2), (1 << 20, 1), ((1 << 20) + 1, 0), (high - 1, 2), (0, high + 1), (high - 1, 1), (high + 65535, 2),
            (high + 65537, 0), (.max, 1), (.max, .max), (1, .max), (0, .max), (high, .max), (high, .max - high + 1), (1 << 63, 1 << 63),
        ] as [(UInt64, UInt64)])
    func outside(address: UInt64, count: UInt64) {
        #expect(throws: GuestMemoryError.outOfRange(address: address, count: count)) { try memory.slice(address, count) }
    }

    @Test("regions that touch are still two: a slice is one piece of host memory")
    func adjacent() throws {
        let (memory, _) = try GuestMemory.allocate([(0, 4096), (4096, 4096)])
        #expect(try memory.slice(4096, 4096).count == 4096)
        #expect(throws: GuestMemoryError.self) { try memory.slice(4095, 2) }
    }

    @Test("regions share one file, each at its offset, and are sorted by address")
    func regions() throws {
        let (memory, file) = try GuestMemory.allocate([(Self.high, 4096), (0, 8192)])
        #expect(memory.regions.map(\.guestAddress) == [0, Self.high])
        #expect(memory.regions.map(\.fileOffset) == [4096, 0])
        #expect(try file.status().st_size == 12288)
        try memory.slice(8191, 1).store(UInt8(7))
        #expect(try file.read(upTo: 1, at: 12287) == [7])
    }

    @Test("a file shown in memory is saved with what was written there, and does not see it")
    func shown() throws {
        let shown = try makeMemoryFile("shown", count: 8192)
        _ = try shown.write([UInt8](repeating: 5, count: 8192), at: 0)
        try memory.show(shown, from: 0, count: 8192, at: 4096)
        try memory.slice(8192, 1).store(UInt8(6))
        try memory.slice(0, 1).store(UInt8(7))
        let saved = try makeMemoryFile("saved", count: 0)
        let hash = try memory.save(to: saved)
        #expect(try saved.read(upTo: 2, at: 4095) == [0, 5])
        #expect(try saved.read(upTo: 2, at: 8191) == [5, 6])
        #expect(try saved.read(upTo: 1, at: 0) == [7])
        #expect(try GuestMemory.contentHash(of: saved) == hash)
        #expect(try shown.read(upTo: 1, at: 4096) == [5])
    }

    @Test("only whole pages of one region can show a file", arguments: [(0, 4096, 1), (1, 4096, 0), (0, 100, 0), (0, 8192, (1 << 20) - 4096)] as [(Int64, Int, UInt64)])
    func shownOutside(offset: Int64, count: Int, address: UInt64) throws {
        let shown = try makeMemoryFile("shown", count: 8192)
        #expect(throws: SystemError.self) { try memory.show(shown, from: offset, count: count, at: address) }
    }

    @Test("fresh memory is zero and keeps what is written")
    func contents() throws {
        #expect(try memory.slice(0, 64).bytes(count: 64) == [UInt8](repeating: 0, count: 64))
        try memory.slice(Self.high + 10, 4).write([1, 2, 3, 4])
        #expect(try memory.slice(Self.high, 16).load(UInt32.self, at: 10) == 0x0403_0201)
    }
}

@Suite("guest memory: slices")
struct GuestSliceTests {
    private let slice: GuestSlice
    private let memory: GuestMemory

    init() throws {
        memory = try GuestMemory.allocate([(0, 4096)]).memory
        slice = try memory.slice(100, 16)
    }

    @Test("integers are little-endian and need no alignment")
    func integers() throws {
        try slice.store(UInt64(0x0807_0605_0403_0201), at: 3)
        #expect(try slice.bytes(at: 3, count: 8) == [1, 2, 3, 4, 5, 6, 7, 8])
        #expect(try slice.load(UInt16.self, at: 4) == 0x0302)
        #expect(try slice.load(Int8.self, at: 10) == 8)
        try slice.storeRelease(0xbeef, at: 14)
        #expect(try slice.loadAcquire(at: 14) == 0xbeef)
    }

    @Test("nothing is reached outside a slice", arguments: [-1, 13, 16, 17, Int.max, Int.min])
    func outside(offset: Int) {
        #expect(throws: GuestMemoryError.outOfSlice(offset: offset, count: 4, sliceCount: 16)) { try slice.load(UInt32.self, at: offset) }
        #expect(throws: GuestMemoryError.self) { try slice.store(UInt32(1), at: offset) }
        #expect(throws: GuestMemoryError.self) { try slice.bytes(at: offset, count: 4) }
        #expect(throws: GuestMemoryError.self) { try slice.write([1, 2, 3, 4], at: offset) }
        #expect(throws: GuestMemoryError.self) { try slice.slice(at: offset, count: 4) }
    }

    @Test("counts that are negative or overflow are refused", arguments: [-1, 17, Int.max, Int.min])
    func counts(count: Int) {
        #expect(throws: GuestMemoryError.self) { try slice.bytes(at: 0, count: count) }
        #expect(throws: GuestMemoryError.self) { try slice.slice(at: 1, count: count) }
    }

    @Test("a part is checked against itself, not its parent")
    func parts() throws {
        let part = try slice.slice(at: 4, count: 4)
        try part.store(UInt32(0xffff_ffff))
        #expect(throws: GuestMemoryError.self) { try part.load(UInt32.self, at: 1) }
        #expect(try slice.bytes(count: 16) == [0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0])
        #expect(try slice.slice(at: 16, count: 0).count == 0)
    }
}

@Suite("numbers from the guest")
struct GuestIntegerTests {
    @Test("arithmetic that fits gives the sum, and what does not throws instead of trapping")
    func arithmetic() throws {
        let number = GuestInteger<UInt32>(0xffff_fff0)
        #expect(try number.adding(15).value == .max)
        #expect(throws: GuestArithmeticError.self) { try number.adding(16) }
        #expect(try number.subtracting(0xffff_fff0).value == 0)
        #expect(throws: GuestArithmeticError.self) { try GuestInteger<UInt32>(3).subtracting(4) }
        #expect(try GuestInteger<UInt32>(0x1_0000).multiplied(by: 0xffff).value == 0xffff_0000)
        #expect(throws: GuestArithmeticError.self) { try GuestInteger<UInt32>(0x1_0000).multiplied(by: 0x1_0000) }
        #expect(throws: GuestArithmeticError.self) { try GuestInteger(Int64.min).subtracting(1) }
    }

    @Test("conversion keeps the number or throws")
    func conversion() throws {
        #expect(try GuestInteger<UInt64>(65535).converted(to: UInt16.self) == 65535)
        #expect(throws: GuestArithmeticError.self) { try GuestInteger<UInt64>(65536).converted(to: UInt16.self) }
        #expect(throws: GuestArithmeticError.self) { try GuestInteger<UInt64>(1 << 63).converted(to: Int.self) }
    }

    @Test("comparison needs no care")
    func comparison() {
        #expect(GuestInteger<UInt8>(3) < GuestInteger<UInt8>(4))
        #expect(GuestInteger<UInt8>(4) == GuestInteger<UInt8>(4))
    }
}
