import CLinux
import GuestMemory
import Testing

@testable import Machine

@Suite("Page tables")
struct PageTablesTests {
    /// Tables at 0x1000 (level 4) to 0x4000 (level 1) that map 0x40_0000 and what follows, an entry a page.
    private struct Guest {
        let memory: GuestMemory
        var special = kvm_sregs.longMode(tables: 0x1000)
        var flags: UInt64 = 2

        static let address: UInt64 = 0x40_0000
        static let everything: UInt64 = 7  // present, writable, user

        init(leaf: UInt64, upper: UInt64 = Guest.everything) throws {
            memory = try GuestMemory.allocate([(0, 1 << 20)]).memory
            try store(0x2000 | upper, at: 0x1000)
            try store(0x3000 | upper, at: 0x2000)
            try store(0x4000 | upper, at: 0x3000 + 8 * 2)
            try store(leaf, at: 0x4000)
        }

        func store(_ entry: UInt64, at address: UInt64) throws { try memory.slice(address, 8).store(entry) }
        func entry(at address: UInt64) throws -> UInt64 { try memory.slice(address, 8).load() }

        var tables: PageTables { PageTables(memory: memory, special: special, flags: flags) }

        func fault(_ address: UInt64 = Guest.address, write: Bool) -> GuestFault? {
            do {
                _ = try tables.physicalAddress(address, write: write)
                return nil
            } catch { return error as? GuestFault }
        }
    }

    @Test("an address is found, and the entries on the way are marked accessed and dirty")
    func found() throws {
        let guest = try Guest(leaf: 0x5000 | 7)
        #expect(try guest.tables.physicalAddress(Guest.address + 0x123, write: false) == 0x5123)
        #expect(try guest.entry(at: 0x4000) == 0x5000 | 7 | 0x20)
        #expect(try guest.tables.physicalAddress(Guest.address, write: true) == 0x5000)
        #expect(try guest.entry(at: 0x4000) == 0x5000 | 7 | 0x60)
        #expect(try guest.entry(at: 0x1000) == 0x2000 | 7 | 0x20)
    }

    @Test("large pages end the walk early")
    func large() throws {
        let guest = try Guest(leaf: 0)
        try guest.store(0x20_0000 | 0x87, at: 0x3000 + 8 * 2)
        #expect(try guest.tables.physicalAddress(Guest.address + 0x12_3456, write: true) == 0x32_3456)
        try guest.store(0x4000_0000 | 0x87, at: 0x2000)
        #expect(try guest.tables.physicalAddress(Guest.address + 0x12_3456, write: true) == 0x4052_3456)
    }

    @Test("a missing page faults with the address and what was tried")
    func missing() throws {
        let guest = try Guest(leaf: 0x5000 | 6)
        #expect(guest.fault(write: false) == .page(address: Guest.address, errorCode: 0))
        #expect(guest.fault(write: true) == .page(address: Guest.address, errorCode: 2))
        #expect(guest.fault(0x8000_0000_0, write: true) == .page(address: 0x8000_0000_0, errorCode: 2))
    }

    @Test("a read-only page may be read, and written only by a kernel that asked for no protection")
    func readOnly() throws {
        var guest = try Guest(leaf: 0x5000 | 5)
        #expect(guest.fault(write: false) == nil)
        #expect(guest.fault(write: true) == .page(address: Guest.address, errorCode: 3))
        #expect(try guest.entry(at: 0x4000) & 0x40 == 0)
        guest.special.cr0 = 1
        #expect(guest.fault(write: true) == nil)
        var above = try Guest(leaf: 0x5000 | 7, upper: 5)
        #expect(above.fault(write: true) == .page(address: Guest.address, errorCode: 3))
        above.special.ss.dpl = 3
        #expect(above.fault(write: true) == .page(address: Guest.address, errorCode: 7))
    }

    @Test("user mode does not reach the kernel's pages, and with SMAP the kernel not the user's")
    func privilege() throws {
        var guest = try Guest(leaf: 0x5000 | 3)
        #expect(guest.fault(write: false) == nil)
        guest.special.ss.dpl = 3
        #expect(guest.fault(write: false) == .page(address: Guest.address, errorCode: 5))
        var user = try Guest(leaf: 0x5000 | 7)
        user.special.cr4 |= 1 << 21
        #expect(user.fault(write: false) == .page(address: Guest.address, errorCode: 1))
        user.flags |= 1 << 18
        #expect(user.fault(write: false) == nil)
    }

    @Test("addresses that are none, and tables outside RAM, never trap", arguments: [0x8000_0000_0000, 0xffff_0000_0000_0000, UInt64.max, 1 << 63])
    func hostile(_ address: UInt64) throws {
        var guest = try Guest(leaf: .max, upper: .max)
        #expect(throws: (any Error).self) { try guest.tables.physicalAddress(address, write: true) }
        guest.special.cr3 = .max
        #expect(throws: (any Error).self) { try guest.tables.physicalAddress(Guest.address, write: true) }
        guest.special.cr4 = .max
        #expect(throws: (any Error).self) { try guest.tables.physicalAddress(address, write: false) }
        guest.special.efer = 0
        #expect(guest.fault(write: false) == .generalProtection)
    }
}

extension kvm_sregs {
    /// Of a kernel with paging and write protection.
    static func longMode(tables: UInt64) -> kvm_sregs {
        var special = kvm_sregs()
        special.cr3 = tables
        special.cr0 = 1 << 16 | 1
        special.cr4 = 1 << 5
        special.efer = 1 << 10
        return special
    }
}
