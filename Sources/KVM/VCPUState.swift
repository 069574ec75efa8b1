import CLinux
import Linux

/// Reading and setting a vCPU's registers: one accessor an ioctl.
extension VCPU {
    public func registers() throws(SystemError) -> kvm_regs {
        var value = kvm_regs()
        try unsafe ioctl(descriptor, cKVM_GET_REGS, &value, "KVM_GET_REGS")
        return value
    }

    public func setRegisters(_ value: kvm_regs) throws(SystemError) {
        var value = value
        try unsafe ioctl(descriptor, cKVM_SET_REGS, &value, "KVM_SET_REGS")
    }

    public func specialRegisters() throws(SystemError) -> kvm_sregs {
        var value = kvm_sregs()
        try unsafe ioctl(descriptor, cKVM_GET_SREGS, &value, "KVM_GET_SREGS")
        return value
    }

    public func setSpecialRegisters(_ value: kvm_sregs) throws(SystemError) {
        var value = value
        try unsafe ioctl(descriptor, cKVM_SET_SREGS, &value, "KVM_SET_SREGS")
    }

    /// What CPUID answers on this vCPU; before its first run.
    public func setCPUID(_ entries: [kvm_cpuid_entry2]) throws(SystemError) {
        var table = ckvm_cpuid()
        let taken = entries.prefix(Int(CKVM_MAX_CPUID_ENTRIES))
        table.count = UInt32(taken.count)
        unsafe withUnsafeMutableBytes(of: &table.entries) { raw in
            let slots = unsafe raw.bindMemory(to: kvm_cpuid_entry2.self)
            for (index, entry) in taken.enumerated() { unsafe slots[index] = entry }
        }
        try unsafe ioctl(descriptor, cKVM_SET_CPUID2, &table, "KVM_SET_CPUID2")
    }

    /// What CPUID answers on this vCPU.
    public func cpuid() throws(SystemError) -> [kvm_cpuid_entry2] {
        var table = ckvm_cpuid()
        table.count = UInt32(CKVM_MAX_CPUID_ENTRIES)
        try unsafe ioctl(descriptor, cKVM_GET_CPUID2, &table, "KVM_GET_CPUID2")
        let count = Int(table.count)
        return unsafe withUnsafeBytes(of: &table.entries) { unsafe Array($0.bindMemory(to: kvm_cpuid_entry2.self).prefix(count)) }
    }

    /// Reads model-specific registers, leaving out those KVM does not let be read.
    public func msrs(_ indices: [UInt32]) throws(SystemError) -> [(index: UInt32, value: UInt64)] {
        var values: [(index: UInt32, value: UInt64)] = []
        var rest = indices[...]
        while !rest.isEmpty {
            var table = ckvm_msrs()
            let asked = rest.prefix(Int(CKVM_MAX_MSRS))
            table.count = UInt32(asked.count)
            unsafe withUnsafeMutableBytes(of: &table.entries) { raw in
                let slots = unsafe raw.bindMemory(to: kvm_msr_entry.self)
                for (slot, index) in asked.enumerated() { unsafe slots[slot] = kvm_msr_entry(index: index, reserved: 0, data: 0) }
            }
            let done = unsafe withUnsafeMutablePointer(to: &table) { pointer -> Int32 in
                clinux_ioctl(descriptor.raw, cKVM_GET_MSRS, UInt(bitPattern: pointer))
            }
            try check(done, "KVM_GET_MSRS")
            values += unsafe withUnsafeBytes(of: &table.entries) { raw in
                unsafe raw.bindMemory(to: kvm_msr_entry.self).prefix(Int(done)).map { (index: $0.index, value: $0.data) }
            }
            // KVM stops at the first it refuses.
            rest = rest.dropFirst(Int(done) < asked.count ? Int(done) + 1 : Int(done))
        }
        return values
    }

    /// Sets model-specific registers; throws if KVM refuses one.
    public func setMSRs(_ values: [(index: UInt32, value: UInt64)]) throws(SystemError) {
        let done = try trySettingMSRs(values[...])
        guard done == values.count else {
            throw SystemError("KVM_SET_MSRS: register 0x\(String(values[done].index, radix: 16)) refused", .invalidArgument)
        }
    }

    /// Sets the first of `values`, at most 256: how many KVM took before it refused one.
    func trySettingMSRs(_ values: ArraySlice<(index: UInt32, value: UInt64)>) throws(SystemError) -> Int {
        var table = ckvm_msrs()
        let taken = values.prefix(Int(CKVM_MAX_MSRS))
        table.count = UInt32(taken.count)
        unsafe withUnsafeMutableBytes(of: &table.entries) { raw in
            let slots = unsafe raw.bindMemory(to: kvm_msr_entry.self)
            for (slot, entry) in taken.enumerated() { unsafe slots[slot] = kvm_msr_entry(index: entry.index, reserved: 0, data: entry.value) }
        }
        let done = unsafe withUnsafeMutablePointer(to: &table) { pointer -> Int32 in
            clinux_ioctl(descriptor.raw, cKVM_SET_MSRS, UInt(bitPattern: pointer))
        }
        return Int(try check(done, "KVM_SET_MSRS"))
    }

    /// The local APIC's register page (`struct kvm_lapic_state`, 1,024 bytes).
    public func localAPIC() throws(SystemError) -> [UInt8] {
        var value = kvm_lapic_state()
        try unsafe ioctl(descriptor, cKVM_GET_LAPIC, &value, "KVM_GET_LAPIC")
        return unsafe withUnsafeBytes(of: &value) { unsafe Array($0) }
    }

    public func setLocalAPIC(_ bytes: [UInt8]) throws(SystemError) {
        var value = kvm_lapic_state()
        unsafe withUnsafeMutableBytes(of: &value) { unsafe $0.copyBytes(from: bytes.prefix($0.count)) }
        try unsafe ioctl(descriptor, cKVM_SET_LAPIC, &value, "KVM_SET_LAPIC")
    }

    /// The XSAVE area in the standard, non-compacted layout (4,096 bytes).
    public func xsave() throws(SystemError) -> [UInt8] {
        var value = kvm_xsave()
        try unsafe ioctl(descriptor, cKVM_GET_XSAVE, &value, "KVM_GET_XSAVE")
        return unsafe withUnsafeBytes(of: &value) { unsafe Array($0.prefix(4096)) }
    }

    public func setXSAVE(_ bytes: [UInt8]) throws(SystemError) {
        var value = kvm_xsave()
        unsafe withUnsafeMutableBytes(of: &value) { unsafe $0.copyBytes(from: bytes.prefix(4096)) }
        try unsafe ioctl(descriptor, cKVM_SET_XSAVE, &value, "KVM_SET_XSAVE")
    }

    /// XCR0: the state components the guest enabled.
    public func xcr0() throws(SystemError) -> UInt64 {
        var value = kvm_xcrs()
        try unsafe ioctl(descriptor, cKVM_GET_XCRS, &value, "KVM_GET_XCRS")
        return value.nr_xcrs > 0 ? value.xcrs.0.value : 1
    }

    public func setXCR0(_ value: UInt64) throws(SystemError) {
        var registers = kvm_xcrs()
        registers.nr_xcrs = 1
        registers.xcrs.0.value = value
        try unsafe ioctl(descriptor, cKVM_SET_XCRS, &registers, "KVM_SET_XCRS")
    }

    public func events() throws(SystemError) -> kvm_vcpu_events {
        var value = kvm_vcpu_events()
        try unsafe ioctl(descriptor, cKVM_GET_VCPU_EVENTS, &value, "KVM_GET_VCPU_EVENTS")
        return value
    }

    public func setEvents(_ value: kvm_vcpu_events) throws(SystemError) {
        var value = value
        try unsafe ioctl(descriptor, cKVM_SET_VCPU_EVENTS, &value, "KVM_SET_VCPU_EVENTS")
    }

    public func debugRegisters() throws(SystemError) -> kvm_debugregs {
        var value = kvm_debugregs()
        try unsafe ioctl(descriptor, cKVM_GET_DEBUGREGS, &value, "KVM_GET_DEBUGREGS")
        return value
    }

    public func setDebugRegisters(_ value: kvm_debugregs) throws(SystemError) {
        var value = value
        try unsafe ioctl(descriptor, cKVM_SET_DEBUGREGS, &value, "KVM_SET_DEBUGREGS")
    }

    /// Running, halted, or waiting for an INIT or start-up interrupt (KVM_MP_STATE_*).
    public func multiprocessingState() throws(SystemError) -> UInt32 {
        var value = kvm_mp_state()
        try unsafe ioctl(descriptor, cKVM_GET_MP_STATE, &value, "KVM_GET_MP_STATE")
        return value.mp_state
    }

    public func setMultiprocessingState(_ state: UInt32) throws(SystemError) {
        var value = kvm_mp_state(mp_state: state)
        try unsafe ioctl(descriptor, cKVM_SET_MP_STATE, &value, "KVM_SET_MP_STATE")
    }

    /// How fast the guest's TSC counts, kHz.
    public func tscFrequency() throws(SystemError) -> UInt32 {
        UInt32(try check(clinux_ioctl(descriptor.raw, cKVM_GET_TSC_KHZ, 0), "KVM_GET_TSC_KHZ"))
    }

    public func setTSCFrequency(_ kilohertz: UInt32) throws(SystemError) {
        try check(clinux_ioctl(descriptor.raw, cKVM_SET_TSC_KHZ, UInt(kilohertz)), "KVM_SET_TSC_KHZ")
    }

    /// Tells the guest through its kvmclock that it stood still, so that its watchdogs do not bark. Throws `EINVAL`
    /// if the guest has no kvmclock.
    public func noteGuestPaused() throws(SystemError) {
        try check(clinux_ioctl(descriptor.raw, cKVM_KVMCLOCK_CTRL, 0), "KVM_KVMCLOCK_CTRL")
    }
}
