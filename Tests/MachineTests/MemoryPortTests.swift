import CLinux
import GuestMemory
import Testing

@testable import Machine

@Suite("Memory port")
struct MemoryPortTests {
    /// Addresses from 0 to 0x10_0000 are themselves, in pages of 4 KiB; tables at 0x1000 to 0x4000.
    private struct Guest {
        let memory: GuestMemory
        var special = kvm_sregs.longMode(tables: 0x1000)

        init() throws {
            memory = try GuestMemory.allocate([(0, 1 << 20)]).memory
            for table in [UInt64(0x1000), 0x2000, 0x3000] { try memory.slice(table, 8).store((table + 0x1000) | 7) }
            for page in UInt64(0)..<256 { try memory.slice(0x4000 + 8 * page, 8).store(page << 12 | 7) }
        }

        func answer(_ request: UInt8, to target: UInt64, from source: UInt64 = 0, size: UInt64 = 0, _ count: UInt64) throws -> UInt8 {
            let registers = kvm_regs(request, rdi: target, rsi: source, rdx: size, rcx: count)
            return try MemoryPort.answer(registers, PageTables(memory: memory, special: special, flags: 2))
        }

        func bytes(_ address: UInt64, _ count: Int) throws -> [UInt8] { try memory.slice(address, UInt64(count)).bytes(count: count) }
    }

    @Test("whoever asks is answered, whatever is in the other registers")
    func ask() throws {
        #expect(try Guest().answer(0, to: .max, from: .max, size: .max, .max) == 0)
    }

    @Test("a fill sets the bytes asked for, across pages, and no others")
    func fill() throws {
        let guest = try Guest()
        #expect(try guest.answer(1, to: 0x10_fff - 1, from: 0xaa55, 0x1003) == 0)
        #expect(try guest.bytes(0x10_ffd, 2) == [0, 0x55])
        #expect(try guest.bytes(0x12_000, 2) == [0x55, 0])
    }

    @Test("a copy goes between pages that lie differently")
    func copy() throws {
        let guest = try Guest()
        let bytes = (0..<9000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        try guest.memory.slice(0x20_123, 9000).write(bytes)
        #expect(try guest.answer(2, to: 0x30_fff, from: 0x20_123, 9000) == 0)
        #expect(try guest.bytes(0x30_fff, 9000) == bytes)
    }

    @Test("a pattern is repeated up to the last byte")
    func pattern() throws {
        let guest = try Guest()
        try guest.memory.slice(0x20_000, 4).write([1, 2, 3, 4])
        #expect(try guest.answer(3, to: 0x30_ffc, from: 0x20_000, size: 4, 4106) == 0)
        #expect(try guest.bytes(0x30_ffc, 8) == [1, 2, 3, 4, 1, 2, 3, 4])
        #expect(try guest.bytes(0x32_004, 3) == [1, 2, 0])
    }

    @Test("random numbers are not the same twice, and end where asked")
    func random() throws {
        let guest = try Guest()
        #expect(try guest.answer(4, to: 0x30_ff0, 32) == 0)
        let first = try guest.bytes(0x30_ff0, 33)
        #expect(try guest.answer(4, to: 0x30_ff0, 32) == 0)
        let second = try guest.bytes(0x30_ff0, 33)
        #expect(first[..<16] != second[..<16] && first[16..<32] != second[16..<32])
        #expect(first[32] == 0 && second[32] == 0)
    }

    @Test("what the page tables do not allow is left to the guest")
    func refused() throws {
        var guest = try Guest()
        try guest.memory.slice(0x4000 + 8 * 0x30, 8).store(UInt64(0x30_000 | 5))
        #expect(try guest.answer(1, to: 0x2f_fff, 2) == 0xff)
        #expect(try guest.answer(2, to: 0x20_000, from: 0x30_000, 16) == 0)
        try guest.memory.slice(0x4000 + 8 * 0x31, 8).store(UInt64(0x8000_0000 | 7))
        #expect(try guest.answer(1, to: 0x31_000, 1) == 0xff)
        #expect(try guest.answer(2, to: 0x20_000, from: 0x31_000, 1) == 0xff)
        try guest.memory.slice(0x4000 + 8 * 0x32, 8).store(UInt64(0x32_000 | 3))
        guest.special.ss.dpl = 3
        #expect(try guest.answer(1, to: 0x32_000, 1) == 0xff)
    }

    @Test(
        "no request traps or is without bounds",
        arguments: [
            (1, UInt64.max, 0, 0, 16), (2, 0, UInt64.max, 0, 16), (1, 0x20_000, 0, 0, UInt64.max), (1, 0x20_000, 0, 0, 16 << 20 | 1),
            (3, 0x20_000, 0, 0, 16), (3, 0x20_000, 0, 3, 16), (3, 0x20_001, 0, 4, 16), (3, 0x20_000, 0, 8192, 16), (3, 0x20_000, .max, 4, 16),
            (4, .max, 0, 0, 16), (5, 0x20_000, 0, 4, 16), (0xff, 0, 0, 0, 0),
        ] as [(UInt8, UInt64, UInt64, UInt64, UInt64)])
    func hostile(_ request: UInt8, _ target: UInt64, _ source: UInt64, _ size: UInt64, _ count: UInt64) throws {
        #expect(try Guest().answer(request, to: target, from: source, size: size, count) == 0xff)
    }
}

extension kvm_regs {
    fileprivate init(_ request: UInt8, rdi: UInt64, rsi: UInt64, rdx: UInt64, rcx: UInt64) {
        self.init()
        // The rest of RAX is not the request's.
        self.rax = 0xffff_ff00 | UInt64(request)
        self.rdi = rdi
        self.rsi = rsi
        self.rdx = rdx
        self.rcx = rcx
    }
}
