import CLinux
import KVM

/// What CPUID answers to a guest: what KVM supports, with the CPU's own number and topology filled in.
enum CPUID {
    /// Paravirtual features that end in a hypercall, which can loop for ever on host B (hosts.md, point 4):
    /// async page faults (4, 10, 14), PV_UNHALT (7), PV_TLB_FLUSH (9), PV_SEND_IPI (11), PV_SCHED_YIELD (13).
    private static let hypercallFeatures: UInt32 = 1 << 4 | 1 << 7 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 13 | 1 << 14

    static func table(_ supported: [kvm_cpuid_entry2], cpu: Int, cpus: Int, softwareKVM: Bool) -> [kvm_cpuid_entry2] {
        let id = UInt32(cpu)
        let count = UInt32(cpus)
        let shift = UInt32(cpus <= 1 ? 0 : Int.bitWidth - (cpus - 1).leadingZeroBitCount)
        return supported.map { original in
            var entry = original
            switch entry.function {
            case 1:
                entry.ebx = entry.ebx & 0x0000_ffff | count << 16 | id << 24
                entry.ecx |= 1 << 31  // hypervisor
                entry.edx = cpus > 1 ? entry.edx | 1 << 28 : entry.edx & ~(1 << 28)  // HTT
            case 4:
                entry.eax = entry.eax & 0x0000_3fff | (count - 1) << 26
            case 0xb, 0x1f:
                // One core an APIC id: level 0 is a thread alone, level 1 the package.
                switch entry.index {
                case 0: (entry.eax, entry.ebx, entry.ecx) = (0, 1, 1 << 8)
                case 1: (entry.eax, entry.ebx, entry.ecx) = (shift, count, 2 << 8 | 1)
                default: (entry.eax, entry.ebx, entry.ecx) = (0, 0, entry.index)
                }
                entry.edx = id
            case 0x4000_0001:
                if softwareKVM { entry.eax &= ~hypercallFeatures }
            case 0x8000_0008:
                entry.ecx = entry.ecx & 0xffff_0000 | shift << 12 | (count - 1)
            case 0x8000_001e:
                (entry.eax, entry.ebx, entry.ecx) = (id, id, 0)
            default:
                break
            }
            return entry
        }
    }
}
