import GuestMemory
import Linux

/// An uncompressed x86-64 `vmlinux` (ELF), loaded where its program headers say.
struct KernelImage {
    /// Guest-physical address of the 64-bit entry point.
    let entry: UInt64
    /// First byte behind everything loaded.
    let end: UInt64

    private static let headerSize = 64
    private static let programHeaderSize = 56
    private static let maximumProgramHeaders = 64
    private static let machineX86_64: UInt16 = 62
    private static let loadable: UInt32 = 1

    /// Loads `file` into `memory`.
    ///
    /// - Throws: what is wrong with the file: truncated, not an ELF, not for x86-64, or too large for the guest.
    static func load(_ file: Descriptor, into memory: GuestMemory) throws(MachineError) -> KernelImage {
        do { return try parseAndLoad(file, memory) } catch let error as MachineError { throw error } catch {
            throw MachineError(MachineError.loadKernel, "\(error)")
        }
    }

    private static func parseAndLoad(_ file: Descriptor, _ memory: GuestMemory) throws -> KernelImage {
        let fileSize = UInt64(try file.status().st_size)
        let header = Fields(try file.read(upTo: headerSize, at: 0))
        guard header.bytes.count == headerSize else { throw MachineError(MachineError.loadKernel, "the file is truncated: \(fileSize) bytes") }
        guard header.bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46]) else {
            throw MachineError(MachineError.loadKernel, "not an ELF file; give the uncompressed vmlinux, not a bzImage")
        }
        guard header.bytes[4] == 2, header.bytes[5] == 1, header.u16(18) == machineX86_64 else {
            throw MachineError(MachineError.loadKernel, "not a 64-bit x86 ELF file")
        }
        let tableOffset = header.u64(32)
        let count = Int(header.u16(56))
        guard header.u16(54) == programHeaderSize, count > 0, count <= maximumProgramHeaders else {
            throw MachineError(MachineError.loadKernel, "no program headers")
        }
        guard tableOffset <= fileSize, UInt64(count * programHeaderSize) <= fileSize - tableOffset else {
            throw MachineError(MachineError.loadKernel, "the file is truncated inside its program headers")
        }
        let table = try file.read(upTo: count * programHeaderSize, at: Int(tableOffset))
        guard table.count == count * programHeaderSize else { throw MachineError(MachineError.loadKernel, "the file is truncated") }

        var end: UInt64 = 0
        for index in 0..<count {
            let segment = Fields(Array(table[index * programHeaderSize..<(index + 1) * programHeaderSize]))
            guard segment.u32(0) == loadable else { continue }
            end = max(end, try load(segment, of: file, fileSize, memory))
        }
        guard end > 0 else { throw MachineError(MachineError.loadKernel, "nothing to load in the file") }
        return KernelImage(entry: header.u64(24), end: end)
    }

    /// Shows a segment's whole pages in guest memory and reads the rest; what is not in the file (bss) is zero already.
    ///
    /// Reading all of it took 1.1 s of a boot in the lab, where writing to pages that have held code is slow, and 9 MiB.
    private static func load(_ segment: Fields, of file: Descriptor, _ fileSize: UInt64, _ memory: GuestMemory) throws -> UInt64 {
        let offset = segment.u64(8)
        let address = segment.u64(24)
        let inFile = segment.u64(32)
        let inMemory = segment.u64(40)
        guard offset <= fileSize, inFile <= fileSize - offset else {
            throw MachineError(MachineError.loadKernel, "the file is truncated: a segment ends beyond its \(fileSize) bytes")
        }
        guard inFile <= inMemory, address >= MemoryMap.highMemory else {
            throw MachineError(MachineError.loadKernel, "a segment lies below 1 MiB or is larger in the file than in memory")
        }
        guard let slice = try? memory.slice(address, inMemory) else {
            let needed = (address &+ inMemory) >> 20
            throw MachineError(MachineError.loadKernel, "the kernel does not fit in guest memory: it needs \(needed + 1) MiB at least; raise --memory")
        }
        let pageSize = UInt64(GuestMemory.pageSize)
        let mapped = (offset | address) % pageSize == 0 ? inFile / pageSize * pageSize : 0
        if mapped > 0 { try memory.show(file, from: Int64(offset), count: Int(mapped), at: address) }
        var target = GuestBuffer([try slice.slice(at: Int(mapped), count: Int(inFile - mapped))])
        var position = Int64(offset + mapped)
        while target.remaining > 0 {
            let got = try target.fill(from: file, at: position, count: target.remaining)
            guard got > 0 else { throw MachineError(MachineError.loadKernel, "the file became shorter while it was read") }
            position += Int64(got)
        }
        return address + inMemory
    }
}

/// Little-endian fields of a header read whole.
private struct Fields {
    let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func u16(_ offset: Int) -> UInt16 { value(offset) }
    func u32(_ offset: Int) -> UInt32 { value(offset) }
    func u64(_ offset: Int) -> UInt64 { value(offset) }

    private func value<T: FixedWidthInteger>(_ offset: Int) -> T {
        bytes.dropFirst(offset).prefix(MemoryLayout<T>.size).reversed().reduce(0) { $0 << 8 | T($1) }
    }
}
