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

    /// Sets model-specific registers; throws if KVM refuses one.
    public func setMSRs(_ values: [(index: UInt32, value: UInt64)]) throws(SystemError) {
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
        try check(done, "KVM_SET_MSRS")
        guard Int(done) == taken.count else {
            throw SystemError("KVM_SET_MSRS: register 0x\(String(values[Int(done)].index, radix: 16)) refused", .invalidArgument)
        }
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
}
