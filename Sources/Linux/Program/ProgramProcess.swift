import CLinux
import Glibc

/// A child that runs a ``SystemCallProgram`` and then, by its last call, another program.
///
/// It is made by `clone3(CLONE_VM)`: nothing is copied but the descriptor table, so a start costs no page
/// tables. It shares this process's memory until it executes or ends; ``release()`` gives back what it used.
///
/// The child talks to its parent over ``control``, a socket which closes by itself when the child executes or
/// ends. The caller reaps the child.
@safe
public final class ProgramProcess {
    public let pid: Int32
    /// Readable once the child has ended.
    public let pidfd: Descriptor
    /// The parent's end.
    public let control: Descriptor

    private var memory: Mapping?
    private let program: SystemCallProgram

    /// How the child comes to life.
    public struct Options: Sendable {
        /// `CLONE_NEW*` flags.
        public var namespaces: UInt64 = 0
        /// The cgroup (a directory's descriptor) it is born in.
        public var cgroup: Descriptor?
        /// Copy the address space instead of sharing it: only `setns(CLONE_NEWTIME)` needs that (kernel/time/namespace.c,
        /// `timens_install`: the mm must have one user).
        public var copiesMemory = false
        /// The child's parent is this process's own: when that ends, whoever adopts its orphans (`PR_SET_CHILD_SUBREAPER`) can wait for it.
        public var isSibling = false

        public init(namespaces: UInt64 = 0, cgroup: Descriptor? = nil, copiesMemory: Bool = false) {
            self.namespaces = namespaces
            self.cgroup = cgroup
            self.copiesMemory = copiesMemory
        }
    }

    /// Starts the program `make` returns; its argument is the child's end of ``control``, open in the child under that number.
    public init(_ options: Options = Options(), _ make: (_ control: Int32) -> SystemCallProgram) throws(SystemError) {
        let (ours, theirs) = try Descriptor.socketPair()
        program = make(theirs.raw)
        control = ours
        let layout = Layout(program)
        let memory = try Mapping(
            nil, count: layout.size, access: [.read, .write], sharing: options.copiesMemory ? .shared : .private)
        self.memory = memory
        unsafe layout.write(program, to: memory.base)

        var descriptor: Int32 = -1
        var arguments = clone_args()
        arguments.flags = options.namespaces | UInt64(CLONE_PIDFD) | clearSignalHandlers | (options.copiesMemory ? 0 : UInt64(CLONE_VM))
        if options.isSibling { arguments.flags |= UInt64(CLONE_PARENT) } else { arguments.exit_signal = UInt64(SIGCHLD) }
        unsafe arguments.stack = UInt64(UInt(bitPattern: memory.base))
        arguments.stack_size = UInt64(Layout.stackSize)
        if let cgroup = options.cgroup {
            arguments.flags |= intoCgroup
            arguments.cgroup = UInt64(cgroup.raw)
        }
        let header = unsafe memory.base.advanced(by: Layout.stackSize).assumingMemoryBound(to: clinux_program.self)
        let result = withExtendedLifetime(theirs) {
            unsafe withUnsafeMutablePointer(to: &descriptor) { descriptor in
                arguments.pidfd = UInt64(UInt(bitPattern: descriptor))
                return unsafe clinux_program_spawn(&arguments, MemoryLayout<clone_args>.size, header)
            }
        }
        guard result > 0 else { throw SystemError("clone3", Errno(rawValue: Int32(truncatingIfNeeded: -result))) }
        pid = Int32(truncatingIfNeeded: result)
        pidfd = Descriptor(adopting: descriptor)
    }

    /// What `register` holds now, if the program's memory is still here.
    public func value(of register: SystemCallProgram.Register) -> Int? {
        guard let memory, Int(register.index) < program.registerCount else { return nil }
        return unsafe memory.base.load(fromByteOffset: Layout(program).registers + 8 * Int(register.index), as: Int.self)
    }

    /// The step the child is in, or was in when it ended.
    public var stage: String {
        guard let memory else { return program.stages[program.stages.count - 1] }
        let index = unsafe memory.base.load(fromByteOffset: Layout.stageOffset, as: UInt32.self)
        return Int(index) < program.stages.count ? program.stages[Int(index)] : "start"
    }

    /// The call that ended the program, if one did.
    public var failure: SystemError? {
        guard let memory else { return nil }
        let error = unsafe memory.base.load(fromByteOffset: Layout.errorOffset, as: UInt32.self)
        return error == 0 ? nil : SystemError(stage, Errno(rawValue: Int32(truncatingIfNeeded: error)))
    }

    /// Gives the program's memory back. Only once ``control`` reported its end: until then the child runs on it.
    public func release() {
        memory = nil
    }

    deinit {
        // The child may still be running on it: leaking a few pages beats pulling its stack away.
        if let memory { unsafe _ = Unmanaged.passRetained(memory) }
    }
}

private let clearSignalHandlers: UInt64 = 0x1_0000_0000
private let intoCgroup: UInt64 = 0x2_0000_0000

/// Stack (its overflow leaves the mapping), header, registers, instructions, data.
private struct Layout {
    static let stackSize = 2048
    static let stageOffset = stackSize + 32
    static let errorOffset = stackSize + 36

    let registers: Int
    let instructions: Int
    let data: Int
    let size: Int

    init(_ program: SystemCallProgram) {
        unsafe registers = Self.stackSize + MemoryLayout<clinux_program>.stride
        instructions = registers + 8 * program.registerCount
        data = instructions + MemoryLayout<clinux_instruction>.stride * program.instructions.count
        size = (data + program.data.count + 4095) & ~4095
    }

    @unsafe
    func write(_ program: SystemCallProgram, to base: UnsafeMutableRawPointer) {
        let target = unsafe base.advanced(by: data)
        unsafe program.data.withUnsafeBytes { bytes in
            if let source = bytes.baseAddress { unsafe target.copyMemory(from: source, byteCount: bytes.count) }
        }
        for place in program.relocations {
            let offset = unsafe target.load(fromByteOffset: place, as: UInt64.self)
            unsafe target.storeBytes(of: UInt64(UInt(bitPattern: target)) &+ offset, toByteOffset: place, as: UInt64.self)
        }
        for (index, instruction) in program.instructions.enumerated() {
            let offset = instructions + MemoryLayout<clinux_instruction>.stride * index
            unsafe base.storeBytes(of: encode(instruction), toByteOffset: offset, as: clinux_instruction.self)
        }
        let header = unsafe clinux_program(
            instructions: UnsafePointer(base.advanced(by: instructions).assumingMemoryBound(to: clinux_instruction.self)),
            count: UInt64(program.instructions.count), data: target.assumingMemoryBound(to: UInt8.self),
            registers: base.advanced(by: registers).assumingMemoryBound(to: Int64.self), stage: 0, error: 0)
        unsafe base.storeBytes(of: header, toByteOffset: Self.stackSize, as: clinux_program.self)
    }

    private func encode(_ instruction: SystemCallProgram.Instruction) -> clinux_instruction {
        var values: [Int32] = [0, 0, 0, 0, 0, 0]
        var kinds: UInt16 = 0
        for (index, argument) in instruction.arguments.prefix(6).enumerated() {
            switch argument {
            case .literal(let value): values[index] = value
            case .data(let offset):
                values[index] = offset
                kinds |= UInt16(CLINUX_DATA) << (2 * index)
            case .register(let register):
                values[index] = Int32(register.index)
                kinds |= UInt16(CLINUX_REGISTER) << (2 * index)
            }
        }
        var tolerated: [UInt8] = [0, 0, 0, 0]
        for (index, error) in instruction.tolerated.prefix(4).enumerated() { tolerated[index] = UInt8(truncatingIfNeeded: error.rawValue) }
        return clinux_instruction(
            values: (values[0], values[1], values[2], values[3], values[4], values[5]), kinds: kinds,
            number: instruction.number.map { UInt16(truncatingIfNeeded: $0) } ?? UInt16(CLINUX_LOAD),
            stage: UInt16(truncatingIfNeeded: instruction.stage), result: instruction.result?.index ?? UInt8(CLINUX_NO_REGISTER),
            minimum: instruction.minimum, tolerated: (tolerated[0], tolerated[1], tolerated[2], tolerated[3]),
            skip_on_success: UInt16(truncatingIfNeeded: instruction.skipOnSuccess),
            skip_on_tolerated: UInt16(truncatingIfNeeded: instruction.skipOnTolerated))
    }
}
