import CLinux

/// A seccomp filter: classic BPF over the number and arguments of a system call (seccomp(2), bpf in the kernel's
/// Documentation/networking/filter.rst).
public struct SystemCallFilter: Sendable {
    public struct Instruction: Equatable, Sendable {
        public let code: UInt16
        public let jumpTrue: UInt8
        public let jumpFalse: UInt8
        public let value: UInt32

        public init(code: UInt16, jumpTrue: UInt8 = 0, jumpFalse: UInt8 = 0, value: UInt32) {
            self.code = code
            self.jumpTrue = jumpTrue
            self.jumpFalse = jumpFalse
            self.value = value
        }
    }

    public let instructions: [Instruction]

    public init(_ instructions: [Instruction]) {
        self.instructions = instructions
    }

    /// Filters the calling thread's system calls from now on, and those of threads it makes, beside the filters it has
    /// already. ``setNoNewPrivileges()`` comes first.
    public func apply() throws(SystemError) {
        let program = instructions.map {
            clinux_filter_instruction(code: $0.code, jump_true: $0.jumpTrue, jump_false: $0.jumpFalse, value: $0.value)
        }
        try check(unsafe clinux_filter_thread(program, UInt16(clamping: program.count)), "filter system calls")
    }
}
