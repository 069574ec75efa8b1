import CLinux
import Linux

/// `/dev/kvm` (Documentation/virt/kvm/api.rst, system ioctls).
public struct System: Sendable {
    public let descriptor: Descriptor

    /// The only API version there has been since Linux 2.6.22.
    public static let apiVersion: Int32 = 12

    /// Opens `/dev/kvm`.
    public init() throws(SystemError) {
        try self.init(Descriptor.open("/dev/kvm", O_RDWR))
    }

    /// Takes an open `/dev/kvm`, for a process that cannot open it itself.
    public init(_ descriptor: Descriptor) throws(SystemError) {
        self.descriptor = descriptor
        let version = try apiVersion()
        guard version == Self.apiVersion else { throw SystemError("/dev/kvm speaks API version \(version), not 12", .notSupported) }
    }

    public func apiVersion() throws(SystemError) -> Int32 {
        try check(clinux_ioctl(descriptor.raw, cKVM_GET_API_VERSION, 0), "KVM_GET_API_VERSION")
    }

    /// The value of a capability: 0 for absent.
    public func value(ofCapability capability: Int32) -> Int32 {
        max(0, clinux_ioctl(descriptor.raw, cKVM_CHECK_EXTENSION, UInt(capability)))
    }

    /// What KVM can give a guest that has KVM's own local APIC, leaf by leaf.
    public func supportedCPUID() throws(SystemError) -> [kvm_cpuid_entry2] {
        var table = ckvm_cpuid()
        table.count = UInt32(CKVM_MAX_CPUID_ENTRIES)
        try unsafe ioctl(descriptor, cKVM_GET_SUPPORTED_CPUID, &table, "KVM_GET_SUPPORTED_CPUID")
        let count = Int(table.count)
        var entries = unsafe withUnsafeBytes(of: &table.entries) { unsafe Array($0.bindMemory(to: kvm_cpuid_entry2.self).prefix(count)) }
        // Older KVM tells of the deadline timer by a capability only (api.rst 4.46), for it depends on the APIC. Without it a guest calibrates
        // a timer when it boots.
        if value(ofCapability: KVM_CAP_TSC_DEADLINE_TIMER) > 0, let features = entries.firstIndex(where: { $0.function == 1 }) {
            entries[features].ecx |= Self.deadlineTimer
        }
        return entries
    }

    /// CPUID.1:ECX, TSC-Deadline.
    private static let deadlineTimer: UInt32 = 1 << 24

    public func createVirtualMachine() throws(SystemError) -> VirtualMachine {
        let raw = try checkRetrying("KVM_CREATE_VM") { clinux_ioctl(descriptor.raw, cKVM_CREATE_VM, 0) }
        let size = try Linux.check(clinux_ioctl(descriptor.raw, cKVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE")
        return VirtualMachine(Descriptor(adopting: raw), runSize: Int(size))
    }
}

/// An ioctl on a structure.
@unsafe
func ioctl<T>(_ descriptor: Descriptor, _ request: UInt, _ argument: inout T, _ stage: StaticString) throws(SystemError) {
    let result = unsafe withUnsafeMutablePointer(to: &argument) { pointer -> Int32 in
        clinux_ioctl(descriptor.raw, request, UInt(bitPattern: pointer))
    }
    if result == -1 { throw SystemError.current("\(stage)") }
}
