import CLinux
import KVM
import Linux

extension CPUID {
    /// A hash of what a host's KVM can give a guest, without what says which of its CPUs was asked.
    static func featureHash(_ supported: [kvm_cpuid_entry2]) -> UInt64 {
        var writer = StateWriter()
        for entry in supported {
            var entry = entry
            switch entry.function {
            // Local APIC ids; leaf 0x16 is frequencies, which wander.
            case 1: entry.ebx &= 0x00ff_ffff
            case 0xb, 0x1f: entry.edx = 0
            case 0x16, 0x8000_001e: continue
            default: break
            }
            for value in [entry.function, entry.index, entry.eax, entry.ebx, entry.ecx, entry.edx] { writer.write(value) }
        }
        return ContentHash.of(writer.bytes)
    }
}
