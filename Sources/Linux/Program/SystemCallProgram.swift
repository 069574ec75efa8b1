import CLinux
import Glibc

/// What a new process does before it executes a program: system calls with everything they need, as plain data.
///
/// Between `clone3` and `execve` a child shares its parent's memory, so it must run neither Swift nor libc;
/// ``ProgramProcess`` runs this list instead. Registers carry results (descriptors, mostly) from call to call.
/// Building one is pure: two equal programs make the same calls.
public struct SystemCallProgram: Equatable, Sendable {
    /// Holds the result of a call.
    public struct Register: Hashable, Sendable {
        public let index: UInt8
    }

    public enum Argument: Equatable, Sendable {
        case literal(Int32)
        /// The address of this offset in ``SystemCallProgram/data``.
        case data(Int32)
        case register(Register)
    }

    public struct Instruction: Equatable, Sendable {
        /// `nil`: not a call, the result is the first argument.
        public var number: Int32?
        public var arguments: [Argument]
        public var result: Register?
        /// A smaller result is a failure (`ENODATA`).
        public var minimum: UInt8 = 0
        public var tolerated: [Errno] = []
        /// How many of the next instructions to leave out after success, or after a tolerated failure.
        public var skipOnSuccess = 0
        public var skipOnTolerated = 0
        /// Index into ``SystemCallProgram/stages``.
        public var stage: Int
    }

    public private(set) var instructions: [Instruction] = []
    /// Everything arguments point to.
    public private(set) var data: [UInt8] = []
    /// Offsets in ``data`` of 8-byte values which become addresses once the data has one.
    public private(set) var relocations: [Int] = []
    /// What is being done, for errors.
    public private(set) var stages: [String] = ["start"]
    public private(set) var registerCount = 0

    private var texts: [[UInt8]: Int32] = [:]

    public init() {}

    // MARK: Operands

    public mutating func register() -> Register {
        defer { registerCount += 1 }
        return Register(index: UInt8(truncatingIfNeeded: registerCount))
    }

    /// Data the call reads, 8-byte aligned. Equal bytes are stored once.
    public mutating func bytes(_ value: [UInt8]) -> Argument {
        if let known = texts[value] { return .data(known) }
        let offset = room(value)
        texts[value] = offset
        return .data(offset)
    }

    /// A NUL-terminated string.
    public mutating func text(_ value: String) -> Argument {
        bytes(Array(value.utf8) + [0])
    }

    /// Little-endian 64-bit words: the kernel's structures are made of these.
    public mutating func words(_ values: [UInt64]) -> Argument {
        bytes(values.flatMap { value in (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } })
    }

    /// Room the call writes to.
    public mutating func buffer(_ count: Int) -> Argument {
        .data(room([UInt8](repeating: 0, count: count)))
    }

    /// A NULL-terminated array of strings, as `execve` wants it.
    public mutating func texts(_ values: [String]) -> Argument {
        let addresses = values.map { text($0) }
        let offset = room([UInt8](repeating: 0, count: 8 * (values.count + 1)))
        for (index, address) in addresses.enumerated() {
            guard case .data(let target) = address else { continue }
            relocate(at: Int(offset) + 8 * index, to: target)
        }
        return .data(offset)
    }

    /// 64-bit words of which some are addresses of data.
    public mutating func structure(_ fields: [Field]) -> Argument {
        let offset = room([UInt8](repeating: 0, count: 8 * fields.count))
        for (index, field) in fields.enumerated() {
            let place = Int(offset) + 8 * index
            switch field {
            case .value(let value): store(value, at: place)
            case .address(.data(let target)): relocate(at: place, to: target)
            case .address: break
            }
        }
        return .data(offset)
    }

    public enum Field: Sendable {
        case value(UInt64)
        case address(Argument)
    }

    // MARK: Calls

    /// Names what the next calls are part of.
    public mutating func stage(_ name: String) {
        stages.append(name)
    }

    /// Adds a call. Failures not in `tolerated` end the program.
    public mutating func call(
        _ number: Int32, _ arguments: Argument..., into result: Register? = nil, atLeast minimum: UInt8 = 0, tolerating tolerated: [Errno] = []
    ) {
        instructions.append(
            Instruction(
                number: number, arguments: arguments, result: result, minimum: minimum, tolerated: tolerated, stage: stages.count - 1))
    }

    /// Puts a value into `register`. A negative one counts as a failure, as if a call had returned it: a result
    /// kept from earlier is judged this way.
    public mutating func load(_ value: Argument, into register: Register? = nil, tolerating tolerated: [Errno] = []) {
        instructions.append(
            Instruction(number: nil, arguments: [value], result: register, tolerated: tolerated, stage: stages.count - 1))
    }

    /// Ends the program with `error`.
    public mutating func fail(_ error: Errno) {
        instructions.append(Instruction(number: nil, arguments: [.literal(-error.rawValue)], result: nil, stage: stages.count - 1))
    }

    /// Runs `body` only if the last call succeeded (and not after a failure it tolerates).
    public mutating func onSuccess(_ body: (inout Self) -> Void) {
        let last = instructions.count - 1
        body(&self)
        if last >= 0 { instructions[last].skipOnTolerated = instructions.count - 1 - last }
    }

    /// Runs `body` only if the last call failed in a way it tolerates.
    public mutating func onTolerated(_ body: (inout Self) -> Void) {
        let last = instructions.count - 1
        body(&self)
        if last >= 0 { instructions[last].skipOnSuccess = instructions.count - 1 - last }
    }

    /// Tries one block after the other: the first whose `attempt` (one call that tolerates failure) succeeds runs
    /// its `then` and ends the search; after the last, `otherwise` runs.
    public mutating func firstOf<Candidate>(
        _ candidates: [Candidate], attempt: (inout Self, Candidate) -> Void, then: (inout Self, Candidate) -> Void,
        otherwise: (inout Self) -> Void
    ) {
        var ends: [Int] = []
        for candidate in candidates {
            attempt(&self, candidate)
            onSuccess { program in
                then(&program, candidate)
                // A load that cannot fail, to leave from.
                program.instructions.append(Instruction(number: nil, arguments: [.literal(0)], result: nil, stage: program.stages.count - 1))
                ends.append(program.instructions.count - 1)
            }
        }
        otherwise(&self)
        for end in ends { instructions[end].skipOnSuccess = instructions.count - 1 - end }
    }

    // MARK: Storage

    private mutating func room(_ value: [UInt8]) -> Int32 {
        let padding = (8 - data.count % 8) % 8
        data += [UInt8](repeating: 0, count: padding)
        defer { data += value }
        return Int32(truncatingIfNeeded: data.count)
    }

    private mutating func store(_ value: UInt64, at offset: Int) {
        for byte in 0..<8 { data[offset + byte] = UInt8(truncatingIfNeeded: value >> (8 * byte)) }
    }

    private mutating func relocate(at offset: Int, to target: Int32) {
        store(UInt64(UInt32(bitPattern: target)), at: offset)
        relocations.append(offset)
    }
}

extension SystemCallProgram.Argument: ExpressibleByIntegerLiteral {
    public init(integerLiteral value: Int32) {
        self = .literal(value)
    }
}
