import CLinux
import Linux

/// A KVM virtual machine: memory slots, interrupt controllers and the wiring of eventfds.
public final class VirtualMachine: Sendable {
    let descriptor: Descriptor
    private let runSize: Int

    init(_ descriptor: Descriptor, runSize: Int) {
        self.descriptor = descriptor
        self.runSize = runSize
    }

    /// Three pages KVM uses on Intel hosts for real mode; anywhere outside RAM (KVM_SET_TSS_ADDR).
    public func setTSSAddress(_ address: UInt64) throws(SystemError) {
        try check(clinux_ioctl(descriptor.raw, cKVM_SET_TSS_ADDR, UInt(address)), "KVM_SET_TSS_ADDR")
    }

    /// The page KVM uses on Intel hosts for an identity map.
    public func setIdentityMapAddress(_ address: UInt64) throws(SystemError) {
        var address = address
        try unsafe ioctl(descriptor, cKVM_SET_IDENTITY_MAP_ADDR, &address, "KVM_SET_IDENTITY_MAP_ADDR")
    }

    /// PIC, I/O APIC and a local APIC for every vCPU made afterwards.
    public func createIRQChip() throws(SystemError) {
        try check(clinux_ioctl(descriptor.raw, cKVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP")
    }

    /// The i8254 timer, with a dummy for port 0x61.
    public func createPIT() throws(SystemError) {
        var configuration = kvm_pit_config()
        configuration.flags = UInt32(KVM_PIT_SPEAKER_DUMMY)
        try unsafe ioctl(descriptor, cKVM_CREATE_PIT2, &configuration, "KVM_CREATE_PIT2")
    }

    /// Maps host memory into the guest. `mapping` must outlive the machine.
    ///
    /// - Parameter readOnly: guest writes do not reach the memory; they exit as MMIO (KVM_MEM_READONLY).
    public func setMemoryRegion(slot: UInt32, guestAddress: UInt64, mapping: Mapping, readOnly: Bool = false) throws(SystemError) {
        var region = kvm_userspace_memory_region()
        region.slot = slot
        region.flags = readOnly ? UInt32(KVM_MEM_READONLY) : 0
        region.guest_phys_addr = guestAddress
        region.memory_size = UInt64(mapping.count)
        region.userspace_addr = unsafe UInt64(UInt(bitPattern: mapping.base))
        try unsafe ioctl(descriptor, cKVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION")
    }

    /// Signals `event` when the guest writes `value` (4 bytes) to `address`, without an exit to this process.
    public func addIOEvent(_ event: EventDescriptor, address: UInt64, value: UInt32) throws(SystemError) {
        var request = kvm_ioeventfd()
        unsafe ckvm_set_ioeventfd(&request, address, 4, event.descriptor.raw, UInt64(value))
        try unsafe ioctl(descriptor, cKVM_IOEVENTFD, &request, "KVM_IOEVENTFD")
    }

    /// Raises interrupt `gsi` (an edge) whenever `event` is signalled.
    public func addIRQEvent(_ event: EventDescriptor, gsi: UInt32) throws(SystemError) {
        var request = kvm_irqfd()
        request.fd = UInt32(bitPattern: event.descriptor.raw)
        request.gsi = gsi
        try unsafe ioctl(descriptor, cKVM_IRQFD, &request, "KVM_IRQFD")
    }

    public func createVCPU(_ index: Int) throws(SystemError) -> VCPU {
        let raw = try check(clinux_ioctl(descriptor.raw, cKVM_CREATE_VCPU, UInt(index)), "KVM_CREATE_VCPU")
        return try VCPU(index: index, Descriptor(adopting: raw), runSize: runSize)
    }
}
