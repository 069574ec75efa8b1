import CLinux
import Linux

extension VCPU {
    /// Everything KVM keeps of a vCPU.
    public struct State: Sendable {
        public var cpuid: [kvm_cpuid_entry2]
        public var multiprocessingState: UInt32
        public var registers: kvm_regs
        public var specialRegisters: kvm_sregs
        /// The standard layout; 4,096 bytes.
        public var xsave: [UInt8]
        public var xcr0: UInt64
        public var debugRegisters: kvm_debugregs
        /// The local APIC's registers; 1,024 bytes.
        public var localAPIC: [UInt8]
        /// kHz.
        public var tscFrequency: UInt32
        public var msrs: [(index: UInt32, value: UInt64)]
        public var events: kvm_vcpu_events

        public init(
            cpuid: [kvm_cpuid_entry2], multiprocessingState: UInt32, registers: kvm_regs, specialRegisters: kvm_sregs, xsave: [UInt8], xcr0: UInt64,
            debugRegisters: kvm_debugregs, localAPIC: [UInt8], tscFrequency: UInt32, msrs: [(index: UInt32, value: UInt64)],
            events: kvm_vcpu_events
        ) {
            self.cpuid = cpuid
            self.multiprocessingState = multiprocessingState
            self.registers = registers
            self.specialRegisters = specialRegisters
            self.xsave = xsave
            self.xcr0 = xcr0
            self.debugRegisters = debugRegisters
            self.localAPIC = localAPIC
            self.tscFrequency = tscFrequency
            self.msrs = msrs
            self.events = events
        }
    }

    /// Reads the state of a vCPU that stands still and has no access left to complete.
    ///
    /// - Parameter msrs: which registers (``System/savedMSRs()``); those that cannot be read are left out.
    public func state(msrs indices: [UInt32]) throws(SystemError) -> State {
        // First: reading it takes INIT and start-up interrupts in, which changes the rest.
        let multiprocessingState = try multiprocessingState()
        var state = State(
            cpuid: try cpuid(), multiprocessingState: multiprocessingState, registers: try registers(),
            specialRegisters: try specialRegisters(), xsave: try xsave(), xcr0: try xcr0(), debugRegisters: try debugRegisters(),
            localAPIC: try localAPIC(), tscFrequency: try tscFrequency(), msrs: try msrs(indices), events: try events())
        state.keepDeadline()
        return state
    }

    /// Gives a fresh vCPU a state.
    ///
    /// - Parameter settable: registers that may be set; a state naming another is refused.
    public func restore(_ state: State, msrs settable: Set<UInt32>) throws(SystemError) {
        // CPUID decides what the rest may hold.
        try setCPUID(state.cpuid)
        if state.tscFrequency != (try tscFrequency()) { try setTSCFrequency(state.tscFrequency) }
        try setMultiprocessingState(state.multiprocessingState)
        try setRegisters(state.registers)
        // The base and mode of the local APIC are among the special registers.
        try setSpecialRegisters(state.specialRegisters)
        // A component must be enabled before the area may hold it.
        try setXCR0(state.xcr0)
        try setXSAVE(state.xsave)
        try setDebugRegisters(state.debugRegisters)
        try setLocalAPIC(state.localAPIC)
        try setSavedMSRs(state.msrs, settable)
        // Last: setting registers takes pending exceptions back.
        try setEvents(state.events)
    }

    /// Makes a fresh vCPU's time-stamp counter that of another one, whose state was restored a moment ago: KVM takes two that are set to
    /// the same value within a second for one clock (`kvm_synchronize_tsc`).
    public func setClock(of other: State) throws(SystemError) {
        if other.tscFrequency != (try tscFrequency()) { try setTSCFrequency(other.tscFrequency) }
        _ = try trySettingMSRs(other.msrs.filter { $0.index == MSR.tsc }[...])
    }

    private func setSavedMSRs(_ saved: [(index: UInt32, value: UInt64)], _ settable: Set<UInt32>) throws(SystemError) {
        if let foreign = saved.first(where: { !settable.contains($0.index) }) {
            throw SystemError("register 0x\(String(foreign.index, radix: 16)) is none that KVM saves here", .invalidArgument)
        }
        // The deadline means nothing before there are a TSC and a timer in deadline mode.
        let ordered = saved.filter { $0.index != MSR.tscDeadline } + saved.filter { $0.index == MSR.tscDeadline }
        var rest = ordered[...]
        while !rest.isEmpty {
            let done = try trySettingMSRs(rest)
            rest = rest.dropFirst(done)
            // One that cannot be set does no harm where it has its value already.
            guard let refused = rest.first else { return }
            if done == Int(CKVM_MAX_MSRS) { continue }
            guard try msrs([refused.index]).first?.value == refused.value else {
                throw SystemError("KVM_SET_MSRS: register 0x\(String(refused.index, radix: 16)) refused", .invalidArgument)
            }
            rest = rest.dropFirst()
        }
    }
}

extension VCPU.State {
    /// A deadline that has passed reads as zero, which means none. If the interrupt was not delivered yet it would
    /// be lost, and the guest would wait for ever; one too many does no harm (Firecracker, vcpu.rs, does the same).
    fileprivate mutating func keepDeadline() {
        guard let deadline = msrs.firstIndex(where: { $0.index == MSR.tscDeadline }), msrs[deadline].value == 0,
            let tsc = msrs.first(where: { $0.index == MSR.tsc })?.value, localAPIC.count > LocalAPIC.timer + 3
        else { return }
        let isDeadlineMode = localAPIC[LocalAPIC.timer + 2] & 0x06 == 0x04
        let isMasked = localAPIC[LocalAPIC.timer + 2] & 0x01 != 0
        if isDeadlineMode, !isMasked { msrs[deadline].value = tsc }
    }

    private enum LocalAPIC {
        /// LVT timer: mode in bits 17 and 18, mask in bit 16.
        static let timer = 0x320
    }
}

/// Model-specific registers by number.
private enum MSR {
    static let tsc: UInt32 = 0x10
    static let tscDeadline: UInt32 = 0x6e0
    /// Memory types, which KVM keeps for the guest but does not list: variable and fixed ranges, the default.
    static let memoryTypes: [UInt32] = Array(0x200...0x20f) + [0x250, 0x258, 0x259] + Array(0x268...0x26f) + [0x2ff]
}

extension System {
    /// The model-specific registers KVM wants saved, in its order.
    public func savedMSRs() throws(SystemError) -> [UInt32] {
        var list = ckvm_msr_list()
        list.count = UInt32(CKVM_MAX_MSR_INDICES)
        try unsafe ioctl(descriptor, cKVM_GET_MSR_INDEX_LIST, &list, "KVM_GET_MSR_INDEX_LIST")
        let count = min(Int(list.count), Int(CKVM_MAX_MSR_INDICES))
        let listed = unsafe withUnsafeBytes(of: &list.indices) { unsafe Array($0.bindMemory(to: UInt32.self).prefix(count)) }
        return listed + MSR.memoryTypes.filter { !listed.contains($0) }
    }
}
