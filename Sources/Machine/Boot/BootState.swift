import CLinux
import GuestMemory
import KVM

/// The state the 64-bit boot protocol wants the first CPU in: long mode, flat segments, the first GiB
/// mapped to itself.
enum BootState {
    private static let codeSelector: UInt16 = 0x10
    private static let dataSelector: UInt16 = 0x18

    static func writeTables(to memory: GuestMemory) throws {
        // GDT: null, null, 64-bit code at 0x10, data at 0x18 (__BOOT_CS, __BOOT_DS).
        let gdt = try memory.slice(MemoryMap.gdt, 32)
        try gdt.store(UInt64(0), at: 0)
        try gdt.store(UInt64(0), at: 8)
        try gdt.store(UInt64(0x00af_9b00_0000_ffff), at: Int(codeSelector))
        try gdt.store(UInt64(0x00cf_9300_0000_ffff), at: Int(dataSelector))

        let presentWritable: UInt64 = 3
        let large: UInt64 = 0x80
        let tables = try memory.slice(MemoryMap.pageTables, 3 * 4096)
        try tables.store(MemoryMap.pageTables + 0x1000 | presentWritable, at: 0)
        try tables.store(MemoryMap.pageTables + 0x2000 | presentWritable, at: 0x1000)
        for index in 0..<512 {
            try tables.store(UInt64(index) << 21 | presentWritable | large, at: 0x2000 + 8 * index)
        }
    }

    /// Puts the boot CPU at `entry` with RSI pointing at the boot parameters.
    static func apply(to vcpu: VCPU, entry: UInt64) throws {
        var special = try vcpu.specialRegisters()
        var code = kvm_segment()
        code.limit = 0xffff_ffff
        code.selector = codeSelector
        code.type = 0xb
        code.present = 1
        code.s = 1
        code.l = 1
        code.g = 1
        var data = code
        data.selector = dataSelector
        data.type = 3
        data.l = 0
        data.db = 1
        special.cs = code
        special.ds = data
        special.es = data
        special.fs = data
        special.gs = data
        special.ss = data
        special.gdt.base = MemoryMap.gdt
        special.gdt.limit = 31
        special.idt.limit = 0
        special.cr3 = MemoryMap.pageTables
        special.cr4 |= 1 << 5  // PAE
        special.cr0 |= 1 << 31 | 1  // PG, PE
        special.efer |= 1 << 8 | 1 << 10  // LME, LMA
        try vcpu.setSpecialRegisters(special)

        var registers = kvm_regs()
        registers.rip = entry
        registers.rsi = MemoryMap.bootParameters
        registers.rflags = 2
        try vcpu.setRegisters(registers)
    }

    /// XCR0 as Linux sets it anyway. The reset value is 1, but QEMU's emulated SVM does not report the guest's
    /// XSETBV, so KVM would put 1 back at the next entry and XSAVE lose SSE and AVX registers (QEMU 7.2, the lab).
    static func configureStateComponents(of vcpu: VCPU, cpuid: [kvm_cpuid_entry2]) throws {
        guard let leaf = cpuid.first(where: { $0.function == 0xd && $0.index == 0 }), leaf.eax & 3 == 3 else { return }
        try vcpu.setXCR0(UInt64(leaf.edx) << 32 | UInt64(leaf.eax))
    }

    /// LINT0 takes the PIC's interrupts, LINT1 is the NMI, as firmware would leave it.
    static func configureLocalAPIC(of vcpu: VCPU) throws {
        enum Register { static let lint0 = 0x350, lint1 = 0x360 }
        var page = try vcpu.localAPIC()
        guard page.count > Register.lint1 + 1 else { return }
        page[Register.lint0 + 1] = page[Register.lint0 + 1] & ~7 | 7  // ExtINT
        page[Register.lint1 + 1] = page[Register.lint1 + 1] & ~7 | 4  // NMI
        try vcpu.setLocalAPIC(page)
    }
}
