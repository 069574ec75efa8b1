import GuestMemory

/// The Intel MultiProcessor table (specification 1.4): how a kernel without ACPI learns of CPUs and of
/// the I/O APIC.
struct MPTable {
    /// That are there, or might be once.
    let cpus: Int

    func write(to memory: GuestMemory) throws {
        let table = configurationTable()
        let address = MemoryMap.mpTable + 16
        var pointer: [UInt8] = Array("_MP_".utf8) + bytes(UInt32(address)) + [1, 4, 0] + [UInt8](repeating: 0, count: 5)
        pointer[10] = checksum(pointer)
        try memory.slice(MemoryMap.mpTable, UInt64(16 + table.count)).write(pointer + table)
    }

    private var ioAPICID: UInt8 { UInt8(truncatingIfNeeded: cpus) }

    private func configurationTable() -> [UInt8] {
        let entries = processors() + [bus(), ioAPIC()] + interrupts()
        let length = 44 + entries.reduce(0) { $0 + $1.count }
        var table: [UInt8] = Array("PCMP".utf8) + bytes(UInt16(length)) + [4, 0] + Array("MICROVM microvm     ".utf8)
        table += bytes(UInt32(0)) + bytes(UInt16(0)) + bytes(UInt16(entries.count)) + bytes(UInt32(MemoryMap.localAPIC)) + bytes(UInt32(0))
        for entry in entries { table += entry }
        table[7] = checksum(table)
        return table
    }

    private func processors() -> [[UInt8]] {
        (0..<cpus).map { index in
            let flags: UInt8 = index == 0 ? 3 : 1  // enabled; the first boots
            return [0, UInt8(truncatingIfNeeded: index), 0x14, flags] + bytes(UInt32(0x600)) + bytes(UInt32(0x201)) + bytes(UInt64(0))
        }
    }

    private func bus() -> [UInt8] { [1, 0] + Array("ISA   ".utf8) }

    private func ioAPIC() -> [UInt8] { [2, ioAPICID, 0x11, 1] + bytes(UInt32(MemoryMap.ioAPIC)) }

    /// Every ISA interrupt goes to the pin of its number, as KVM's default routing has it; then LINT0 and LINT1.
    private func interrupts() -> [[UInt8]] {
        let pins = (0...UInt8(MemoryMap.lastInterrupt)).map { pin in [3, 0, 0, 0, 0, pin, ioAPICID, pin] as [UInt8] }
        let external: [UInt8] = [4, 3, 0, 0, 0, 0, 0, 0]
        let nonMaskable: [UInt8] = [4, 1, 0, 0, 0, 0, 0xff, 1]
        return pins + [external, nonMaskable]
    }

    private func checksum(_ bytes: [UInt8]) -> UInt8 { 0 &- bytes.reduce(0, &+) }

    private func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        (0..<MemoryLayout<T>.size).map { UInt8(truncatingIfNeeded: value >> T(8 * $0)) }
    }
}
