import Linux

/// A kernel of a few instructions: machine code in an ELF file, loaded and entered at 1 MiB.
struct TestKernel {
    static let address: UInt64 = 0x10_0000

    var bytes: [UInt8]

    init(_ code: [UInt8], machine: UInt16 = 62, memorySize: UInt64? = nil, fileOffset: UInt64 = 120) {
        func le<T: FixedWidthInteger>(_ value: T) -> [UInt8] { (0..<MemoryLayout<T>.size).map { UInt8(truncatingIfNeeded: value >> T(8 * $0)) } }
        bytes = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0] + [UInt8](repeating: 0, count: 8)
        bytes += le(UInt16(2)) + le(machine) + le(UInt32(1)) + le(Self.address) + le(UInt64(64)) + le(UInt64(0)) + le(UInt32(0))
        bytes += le(UInt16(64)) + le(UInt16(56)) + le(UInt16(1)) + le(UInt16(0)) + le(UInt16(0)) + le(UInt16(0))
        bytes += le(UInt32(1)) + le(UInt32(5)) + le(fileOffset) + le(Self.address) + le(Self.address)
        bytes += le(UInt64(code.count)) + le(memorySize ?? UInt64(code.count)) + le(UInt64(0x1000))
        bytes += code
    }

    func file() throws -> Descriptor {
        let file = try makeMemoryFile("test-kernel", count: 0)
        try file.writeAll(bytes)
        return file
    }
}

/// Machine code used by the tests.
enum Code {
    /// out dx, al
    static func out(_ port: UInt16, _ value: UInt8) -> [UInt8] {
        [0x66, 0xba, UInt8(port & 0xff), UInt8(port >> 8), 0xb0, value, 0xee]
    }
    static let powerOff = out(0x505, 4)
    static let panic = out(0x505, 1)
    static let reset = out(0x64, 0xfe)
    /// Writes AL to the serial port.
    static let printAL: [UInt8] = [0x66, 0xba, 0xf8, 0x03, 0xee]
    static let forever: [UInt8] = [0xeb, 0xfe]
    /// mov rax/rcx/rdi, imm32 (sign-extended)
    static func movRAX(_ value: UInt32) -> [UInt8] { [0x48, 0xc7, 0xc0] + bytes(value) }
    static func movRDX(_ value: UInt32) -> [UInt8] { [0x48, 0xc7, 0xc2] + bytes(value) }
    static func movRDI(_ value: UInt32) -> [UInt8] { [0x48, 0xc7, 0xc7] + bytes(value) }
    static func bytes(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
}
