import GuestMemory

/// The zero page of the 64-bit Linux boot protocol (Documentation/arch/x86/boot.rst, zero-page.rst).
struct BootParameters {
    let commandLine: String
    let ram: [(guestAddress: UInt64, count: Int)]
    /// Read-only ranges the kernel must not treat as RAM.
    let reserved: [(guestAddress: UInt64, count: UInt64)]
    /// Passed as SETUP_RNG_SEED, so that the kernel's generator is ready at once (7 s of waiting on host B).
    let randomSeed: [UInt8]

    /// COMMAND_LINE_SIZE of x86.
    static let commandLineLimit = 2048

    private static let setupRandomSeed: UInt32 = 9

    func write(to memory: GuestMemory) throws {
        let line = Array(commandLine.utf8)
        guard line.count < Self.commandLineLimit else {
            throw MachineError("kernel command line", "\(line.count) bytes; the kernel takes \(Self.commandLineLimit - 1)")
        }
        try memory.slice(MemoryMap.commandLine, UInt64(line.count + 1)).write(line + [0])
        try writeSeed(memory)

        let page = try memory.slice(MemoryMap.bootParameters, 4096)
        try page.store(UInt16(0xaa55), at: 0x1fe)  // boot_flag
        try page.store(UInt32(0x5372_6448), at: 0x202)  // header: "HdrS"
        try page.store(UInt16(0x020f), at: 0x206)  // version 2.15
        try page.store(UInt8(0xff), at: 0x210)  // type_of_loader: undefined
        try page.store(UInt8(1), at: 0x211)  // loadflags: LOADED_HIGH
        try page.store(UInt32(MemoryMap.commandLine), at: 0x228)
        try page.store(UInt32(0x100_0000), at: 0x230)  // kernel_alignment
        try page.store(UInt32(line.count), at: 0x238)
        try page.store(UInt64(MemoryMap.randomSeed), at: 0x250)  // setup_data
        try writeMemoryMap(page)
    }

    private func writeSeed(_ memory: GuestMemory) throws {
        let node = try memory.slice(MemoryMap.randomSeed, UInt64(16 + randomSeed.count))
        try node.store(UInt64(0), at: 0)  // next
        try node.store(Self.setupRandomSeed, at: 8)
        try node.store(UInt32(randomSeed.count), at: 12)
        try node.write(randomSeed, at: 16)
    }

    private func writeMemoryMap(_ page: GuestSlice) throws {
        enum Kind { static let ram: UInt32 = 1, reserved: UInt32 = 2 }
        var entries: [(UInt64, UInt64, UInt32)] = [
            (0, MemoryMap.mpTable, Kind.ram),
            (MemoryMap.mpTable, MemoryMap.conventionalEnd - MemoryMap.mpTable, Kind.reserved),
        ]
        for range in ram {
            let start = max(range.guestAddress, MemoryMap.highMemory)
            entries.append((start, range.guestAddress + UInt64(range.count) - start, Kind.ram))
        }
        entries += reserved.map { ($0.guestAddress, $0.count, Kind.reserved) }
        try page.store(UInt8(entries.count), at: 0x1e8)
        for (index, entry) in entries.enumerated() {
            let at = 0x2d0 + 20 * index
            try page.store(entry.0, at: at)
            try page.store(entry.1, at: at + 8)
            try page.store(entry.2, at: at + 16)
        }
    }
}
