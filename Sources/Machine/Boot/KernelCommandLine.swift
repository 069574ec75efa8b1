/// The guest kernel's command line: what every guest gets, what this machine's devices and host need,
/// and what the operator adds.
///
/// The kernel compares each word with each of its parameters, twice: where its ring 0 is interpreted a word costs
/// some 10 ms, so nothing is said here that the kernel's configuration says already.
enum KernelCommandLine {
    /// Grace periods of milliseconds: containers wait for several when they start and end. One interpreted CPU waits for none (patches/).
    private static let expedited = "rcupdate.rcu_expedited=1"

    private static let hardwareKVM = [
        expedited,
        // Our kernel's configuration says both; another kernel may run here, too.
        "quiet", "console=hvc0",
        // The TSC of a KVM guest needs no watchdog, which would wake an idle guest twice a second.
        "tsc=reliable",
    ]

    /// Instructions the emulator of a software KVM lacks (hosts.md, point 2). XSAVE stays on: user programs use
    /// AVX natively and FXSAVE would corrupt their registers.
    ///
    /// By Linux' numbers (arch/x86/include/asm/cpufeatures.h; they follow CPUID's bits and stay): it compares a name with some seven hundred.
    static let missingFeatures: KeyValuePairs = [
        "popcnt": 151, "cx16": 141, "rdrand": 158, "rdseed": 306, "fsgsbase": 288, "smap": 308, "smep": 295, "erms": 297, "fsrm": 580, "movbe": 150,
        "clflushopt": 311, "clwb": 312, "invpcid": 298, "pcid": 145, "xsaves": 323, "xsavec": 321, "xsaveopt": 320,
    ]

    private static let softwareKVM = [
        // What only costs instructions there (patches/). The kernel looks at its first word only: messages come before it has read the others.
        "lean_boot",
        "clearcpuid=" + missingFeatures.map { "\($0.value)" }.joined(separator: ","),
        // The TSC is the host's there whatever is restored: a clone's clock would be ahead by its template's age, every second of
        // which the guest's kernel makes up for. kvm-clock, chosen then, goes on where it was.
        "tsc=unstable",
        // A tick costs 2 ms there.
        "tick_stride=10",
        // An answer of the file server comes sooner than the guest has gone to sleep.
        "virtiofs.answer_polls=100",
        // Counting each small object of the kernel's against its container's limit takes a tenth of a start. What programs have
        // themselves still counts.
        "cgroup.memory=nokmem",
    ]

    /// CPUs that are brought up all at once spin until their turn comes. Interpreted, fifteen of them leave the one that brings them
    /// up no time: eight CPUs took two minutes instead of fifty seconds, sixteen did not come up.
    private static let oneAfterAnother = "cpuhp.parallel=0"

    static func make(
        cpus: Int, possibleCPUs: Int, devices: [(address: UInt64, interrupt: UInt32)], rootOnPmem: Bool, softwareKVM: Bool, extra: String
    ) -> String {
        var words = softwareKVM ? Self.softwareKVM : hardwareKVM
        if cpus < possibleCPUs { words.append("maxcpus=\(cpus)") }
        if softwareKVM, possibleCPUs > 1 { words.append(expedited) }
        if softwareKVM, cpus > 1 { words.append(oneAfterAnother) }
        if rootOnPmem { words += ["root=/dev/pmem0", "rootfstype=erofs", "rootflags=dax=always"] }
        let places = devices.map { "4K@0x\(String($0.address, radix: 16)):\($0.interrupt)" }
        // A list is one word, but only our kernel reads it (kernel-config/patches/0013). No other runs where ring 0 is interpreted.
        words += (softwareKVM && !places.isEmpty ? [places.joined(separator: ",")] : places).map { "virtio_mmio.device=\($0)" }
        if !extra.isEmpty { words.append(extra) }
        return words.joined(separator: " ")
    }
}
