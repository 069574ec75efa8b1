/// A system call filter (config-linux.md, Seccomp).
public struct LinuxSeccomp: Codable, Sendable, Equatable {
    public var defaultAction: LinuxSeccompAction
    public var defaultErrnoRet: UInt32?
    /// Empty: the native architecture only.
    @OmitEmpty public var architectures: [LinuxSeccompArch]
    @OmitEmpty public var flags: [LinuxSeccompFlag]
    @OmitEmpty public var listenerPath: String
    @OmitEmpty public var listenerMetadata: String
    @OmitEmpty public var syscalls: [LinuxSyscall]

    public init(defaultAction: LinuxSeccompAction) {
        self.defaultAction = defaultAction
    }
}

/// The rule for some system calls.
public struct LinuxSyscall: Codable, Sendable, Equatable {
    /// At least one. A name the kernel does not know is skipped, as by every runtime.
    public var names: [String]
    public var action: LinuxSeccompAction
    /// For `SCMP_ACT_ERRNO` (default EPERM) and `SCMP_ACT_TRACE`.
    public var errnoRet: UInt32?
    /// All must hold.
    @OmitEmpty public var args: [LinuxSeccompArg]

    public init(names: [String], action: LinuxSeccompAction, errnoRet: UInt32? = nil, args: [LinuxSeccompArg] = []) {
        self.names = names
        self.action = action
        self.errnoRet = errnoRet
        self.args = args
    }
}

/// A comparison of one argument of a system call.
public struct LinuxSeccompArg: Codable, Sendable, Equatable {
    /// 0...5.
    public var index: UInt32
    public var value: UInt64
    /// The datum of `SCMP_CMP_MASKED_EQ`, whose mask is ``value``.
    public var valueTwo: UInt64?
    public var op: LinuxSeccompOperator

    public init(index: UInt32, value: UInt64, valueTwo: UInt64? = nil, op: LinuxSeccompOperator) {
        self.index = index
        self.value = value
        self.valueTwo = valueTwo
        self.op = op
    }
}

public enum LinuxSeccompAction: String, Keyword {
    /// As ``killThread``.
    case kill = "SCMP_ACT_KILL"
    case killProcess = "SCMP_ACT_KILL_PROCESS"
    case killThread = "SCMP_ACT_KILL_THREAD"
    case trap = "SCMP_ACT_TRAP"
    case errno = "SCMP_ACT_ERRNO"
    case trace = "SCMP_ACT_TRACE"
    case allow = "SCMP_ACT_ALLOW"
    case log = "SCMP_ACT_LOG"
    case notify = "SCMP_ACT_NOTIFY"
}

public enum LinuxSeccompOperator: String, Keyword {
    case notEqual = "SCMP_CMP_NE"
    case lessThan = "SCMP_CMP_LT"
    case lessEqual = "SCMP_CMP_LE"
    case equalTo = "SCMP_CMP_EQ"
    case greaterEqual = "SCMP_CMP_GE"
    case greaterThan = "SCMP_CMP_GT"
    case maskedEqual = "SCMP_CMP_MASKED_EQ"
}

public enum LinuxSeccompArch: String, Keyword {
    case x86 = "SCMP_ARCH_X86"
    case x86_64 = "SCMP_ARCH_X86_64"
    case x32 = "SCMP_ARCH_X32"
    case arm = "SCMP_ARCH_ARM"
    case aarch64 = "SCMP_ARCH_AARCH64"
    case loongarch64 = "SCMP_ARCH_LOONGARCH64"
    case m68k = "SCMP_ARCH_M68K"
    case mips = "SCMP_ARCH_MIPS"
    case mips64 = "SCMP_ARCH_MIPS64"
    case mips64n32 = "SCMP_ARCH_MIPS64N32"
    case mipsel = "SCMP_ARCH_MIPSEL"
    case mipsel64 = "SCMP_ARCH_MIPSEL64"
    case mipsel64n32 = "SCMP_ARCH_MIPSEL64N32"
    case ppc = "SCMP_ARCH_PPC"
    case ppc64 = "SCMP_ARCH_PPC64"
    case ppc64le = "SCMP_ARCH_PPC64LE"
    case s390 = "SCMP_ARCH_S390"
    case s390x = "SCMP_ARCH_S390X"
    case sh = "SCMP_ARCH_SH"
    case sheb = "SCMP_ARCH_SHEB"
    case parisc = "SCMP_ARCH_PARISC"
    case parisc64 = "SCMP_ARCH_PARISC64"
    case riscv64 = "SCMP_ARCH_RISCV64"
}

/// Flags of seccomp(2).
public enum LinuxSeccompFlag: String, Keyword {
    case tsync = "SECCOMP_FILTER_FLAG_TSYNC"
    case log = "SECCOMP_FILTER_FLAG_LOG"
    case specAllow = "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
    case waitKillableRecv = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
}
