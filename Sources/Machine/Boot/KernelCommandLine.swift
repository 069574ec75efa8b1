/// The guest kernel's command line: what every guest gets, what this machine's devices and host need,
/// and what the operator adds.
enum KernelCommandLine {
    /// Panic and reset end the machine: reset through the keyboard controller, panic after telling port 0x505.
    private static let always = [
        "reboot=k", "panic=-1", "no_timer_check", "tsc=reliable", "random.trust_bootloader=1", "random.trust_cpu=0",
        "cryptomgr.notests", "rcupdate.rcu_expedited=1",
    ]

    /// Instructions the emulator of a software KVM lacks (hosts.md, point 2). XSAVE stays on: user programs use
    /// AVX natively and FXSAVE would corrupt their registers.
    private static let softwareKVM = [
        "clearcpuid=popcnt,cx16,rdrand,rdseed,fsgsbase,smap,smep,erms,fsrm,movbe,clflushopt,clwb,invpcid,pcid,xsaves,xsavec,xsaveopt",
        "mitigations=off", "nopvspin",
    ]

    static func make(devices: [(address: UInt64, interrupt: UInt32)], rootOnPmem: Bool, softwareKVM: Bool, extra: String) -> String {
        var words = always
        if softwareKVM { words += Self.softwareKVM }
        if rootOnPmem { words += ["root=/dev/pmem0", "rootfstype=erofs", "rootflags=dax=always", "ro", "init=/sbin/init"] }
        words += devices.map { "virtio_mmio.device=4K@0x\(String($0.address, radix: 16)):\($0.interrupt)" }
        if !extra.isEmpty { words.append(extra) }
        return words.joined(separator: " ")
    }
}
