/// An instruction KVM's emulator refused, decoded as far as the assist needs (Intel SDM volume 2, 2.1).
struct Instruction: Equatable, Sendable {
    enum Operation: Equatable, Sendable {
        case breakpoint
        case wait
        case xsave
        case xrstor
        case popcnt
        case xgetbv
    }

    /// Where a memory operand lies: base + index × scale + displacement, in one of two segments that have a base.
    struct Memory: Equatable, Sendable {
        enum Segment: Equatable, Sendable { case flat, fs, gs }
        var segment = Segment.flat
        var base: Int?
        var index: Int?
        var scale: UInt64 = 1
        var displacement: Int64 = 0
        var relativeToRIP = false
    }

    enum Operand: Equatable, Sendable {
        case register(Int)
        case memory(Memory)
    }

    let operation: Operation
    /// Bytes, prefixes included.
    let length: Int
    /// The ModRM reg field with REX.R.
    var register = 0
    var operand = Operand.register(0)
    /// 2, 4 or 8.
    var operandSize = 4

    /// Decodes the instruction at the start of `bytes`; nil if it is none the assist knows or is cut off.
    init?(_ bytes: [UInt8]) {
        var reader = Reader(bytes)
        var segment = Memory.Segment.flat
        var rex: UInt8 = 0
        var repeated = false
        var wordOperand = false

        var opcode: UInt8
        repeat {
            guard let byte = reader.next() else { return nil }
            opcode = byte
            switch byte {
            case 0x64: segment = .fs
            case 0x65: segment = .gs
            case 0x66: wordOperand = true
            case 0xf3: repeated = true
            case 0x2e, 0x36, 0x3e, 0x26, 0xf2, 0xf0: break
            default: break
            }
        } while Self.legacyPrefixes.contains(opcode)
        if opcode & 0xf0 == 0x40 {
            rex = opcode
            guard let byte = reader.next() else { return nil }
            opcode = byte
        }
        let wide = rex & 8 != 0

        switch opcode {
        case 0xcc:
            operation = .breakpoint
            length = reader.position
            return
        case 0x9b:
            operation = .wait
            length = reader.position
            return
        case 0x0f: break
        default: return nil
        }
        guard let second = reader.next(), let modRM = reader.next() else { return nil }
        let field = Int(modRM >> 3 & 7)
        register = field | (rex & 4 != 0 ? 8 : 0)
        guard let operand = Self.operand(modRM, rex, segment, &reader) else { return nil }
        self.operand = operand
        operandSize = wide ? 8 : wordOperand ? 2 : 4

        switch (second, field, operand) {
        case (0xae, 4, .memory): operation = .xsave
        case (0xae, 5, .memory): operation = .xrstor
        case (0xb8, _, _) where repeated: operation = .popcnt
        case (0x01, _, _) where modRM == 0xd0: operation = .xgetbv
        default: return nil
        }
        length = reader.position
    }

    private static let legacyPrefixes: Set<UInt8> = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0xf0, 0xf2, 0xf3]

    private static func operand(_ modRM: UInt8, _ rex: UInt8, _ segment: Memory.Segment, _ reader: inout Reader) -> Operand? {
        let mode = modRM >> 6
        let low = Int(modRM & 7)
        let baseExtension = rex & 1 != 0 ? 8 : 0
        if mode == 3 { return .register(low | baseExtension) }

        var memory = Memory(segment: segment)
        var noBase = mode == 0 && low == 5
        if low == 4 {
            guard let sib = reader.next() else { return nil }
            let index = Int(sib >> 3 & 7) | (rex & 2 != 0 ? 8 : 0)
            memory.index = index == 4 ? nil : index
            memory.scale = 1 << UInt64(sib >> 6)
            noBase = mode == 0 && sib & 7 == 5
            memory.base = noBase ? nil : Int(sib & 7) | baseExtension
        } else if noBase {
            memory.relativeToRIP = true
        } else {
            memory.base = low | baseExtension
        }
        switch (mode, noBase) {
        case (1, _):
            guard let byte = reader.next() else { return nil }
            memory.displacement = Int64(Int8(bitPattern: byte))
        case (2, _), (0, true):
            guard let value = reader.int32() else { return nil }
            memory.displacement = Int64(value)
        default: break
        }
        return .memory(memory)
    }

    private struct Reader {
        let bytes: [UInt8]
        var position = 0

        init(_ bytes: [UInt8]) { self.bytes = bytes }

        mutating func next() -> UInt8? {
            guard position < bytes.count else { return nil }
            defer { position += 1 }
            return bytes[position]
        }

        mutating func int32() -> Int32? {
            var value: UInt32 = 0
            for shift in stride(from: 0, to: 32, by: 8) {
                guard let byte = next() else { return nil }
                value |= UInt32(byte) << UInt32(shift)
            }
            return Int32(bitPattern: value)
        }
    }
}
