/// Who executes a guest's kernel on this host.
public enum HostKind: String, Sendable {
    /// The CPU: VT-x or SVM is behind `/dev/kvm`.
    case hardware
    /// KVM's instruction emulator: the host is itself a virtual machine without nested virtualisation.
    /// User programs still run on the CPU.
    case software
}
