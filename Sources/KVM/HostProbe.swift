import CLinux
import Glibc
import Linux

/// Finds out by a machine of a few instructions what kind of KVM a host has.
///
/// No module name or CPUID bit is looked for: what counts is what the guest's ring 0 can execute, and how
/// fast. Takes some milliseconds; the answer holds until the host boots again.
public enum HostProbe {
    public struct Result: Equatable, Sendable, CustomStringConvertible {
        public let kind: HostKind
        /// Whether an instruction every kernel may use (POPCNT) runs at CPL 0.
        public let completesPopcnt: Bool
        /// How fast the guest's ring 0 runs.
        public let instructionsPerSecond: UInt64

        public init(completesPopcnt: Bool, instructionsPerSecond: UInt64) {
            self.completesPopcnt = completesPopcnt
            self.instructionsPerSecond = instructionsPerSecond
            kind = completesPopcnt && instructionsPerSecond >= HostProbe.slowestHardware ? .hardware : .software
        }

        /// A line for a person.
        public var description: String {
            let tenths = instructionsPerSecond / 100_000
            let speed = tenths < 1000 ? "\(tenths / 10).\(tenths % 10)" : "\(tenths / 10)"
            return switch kind {
            case .hardware: "hardware virtualisation: guest kernels run on the CPU (\(speed) million instructions a second)"
            case .software:
                "no hardware virtualisation: KVM interprets guest kernels (\(speed) million instructions a second); "
                    + "user programs run on the CPU"
            }
        }
    }

    /// The emulator reaches about 2 million, a CPU emulated by QEMU some hundred million.
    static let slowestHardware: UInt64 = 20_000_000

    private static let codeAddress: UInt64 = 0x1000
    private static let memorySize = 0x2000
    /// A guest of these few instructions makes three exits; more means that something is wrong.
    private static let exitLimit = 16

    /// Runs the probe.
    ///
    /// - Throws: if KVM cannot make or run a machine at all.
    public static func run(_ system: System) throws(SystemError) -> Result {
        let machine = try system.createVirtualMachine()
        // What KVM keeps to itself on Intel hosts lies anywhere outside the guest's two pages.
        try machine.setTSSAddress(0xfffb_d000)
        try machine.setIdentityMapAddress(0xfffb_c000)
        let memory = try Mapping(nil, count: memorySize, access: [.read, .write], sharing: .private)
        try machine.setMemoryRegion(slot: 0, guestAddress: 0, mapping: memory)
        let vcpu = try machine.createVCPU(0)
        try vcpu.setCPUID(try system.supportedCPUID())
        for (offset, byte) in (popcnt + halt + loop + halt).enumerated() {
            unsafe memory.base.storeBytes(of: byte, toByteOffset: Int(codeAddress) + offset, as: UInt8.self)
        }

        try enterProtectedMode(vcpu)
        let completesPopcnt = try runToHalt(vcpu, from: codeAddress, rounds: 0)
        // Entering and leaving a guest costs up to some milliseconds, so the loop grows until that is little.
        var rounds: UInt64 = 4_000
        while true {
            let start = processorNanoseconds()
            guard try runToHalt(vcpu, from: codeAddress + UInt64(popcnt.count + halt.count), rounds: rounds) else {
                throw SystemError("probe the host's KVM: the guest stopped in its loop", .ioError)
            }
            // Not the clock on the wall: other load would make a CPU look interpreted.
            let nanoseconds = max(1, processorNanoseconds() &- start)
            if nanoseconds > enoughNanoseconds || rounds > mostRounds {
                return Result(completesPopcnt: completesPopcnt, instructionsPerSecond: 2 * rounds * 1_000_000_000 / nanoseconds)
            }
            rounds *= 8
        }
    }

    private static let popcnt: [UInt8] = [0xf3, 0x0f, 0xb8, 0xc3]  // popcnt eax, ebx
    private static let halt: [UInt8] = [0xf4]
    private static let loop: [UInt8] = [0x49, 0x75, 0xfd]  // dec ecx; jnz −3

    private static let enoughNanoseconds: UInt64 = 20_000_000
    private static let mostRounds: UInt64 = 10_000_000

    /// Whether the guest came to its HLT; false if KVM could not execute an instruction.
    private static func runToHalt(_ vcpu: VCPU, from address: UInt64, rounds: UInt64) throws(SystemError) -> Bool {
        var registers = kvm_regs()
        registers.rip = address
        registers.rcx = rounds
        registers.rflags = 2
        try vcpu.setRegisters(registers)
        for _ in 0..<exitLimit {
            switch try vcpu.runUntilExit() {
            case .halt: return true
            case .interrupted: continue
            case .internalError(suberror: UInt32(KVM_INTERNAL_ERROR_EMULATION), data: _): return false
            case let exit: throw SystemError("probe the host's KVM: unexpected exit \(exit)", .ioError)
            }
        }
        throw SystemError("probe the host's KVM: interrupted again and again", .interrupted)
    }

    /// 32-bit protected mode without paging: it needs no tables, and unlike real mode is never emulated on old CPUs.
    private static func enterProtectedMode(_ vcpu: VCPU) throws(SystemError) {
        var special = try vcpu.specialRegisters()
        var code = kvm_segment()
        code.limit = 0xffff_ffff
        code.selector = 8
        code.type = 0xb
        code.present = 1
        code.s = 1
        code.db = 1
        code.g = 1
        var data = code
        data.selector = 16
        data.type = 3
        special.cs = code
        special.ds = data
        special.es = data
        special.fs = data
        special.gs = data
        special.ss = data
        special.cr0 |= 1  // PE
        try vcpu.setSpecialRegisters(special)
    }
}
