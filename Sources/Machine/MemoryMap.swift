/// Where things lie in guest-physical address space.
///
///     0x0000_0000  RAM, up to 3 GiB
///     0xc000_0000  hole: virtio-mmio, I/O APIC, local APIC
///     0x1_0000_0000  the rest of RAM, then the guest image (read-only),
///                  then shared memory of devices, then memory that is plugged in later
public enum MemoryMap {
    /// End of low RAM when there is more than this: 3 GiB.
    public static let holeStart: UInt64 = 0xc000_0000
    public static let highStart: UInt64 = 0x1_0000_0000

    /// virtio-mmio windows, one page a device.
    public static let mmioStart: UInt64 = 0xd000_0000
    public static let mmioStride: UInt64 = 0x1000
    /// First interrupt of virtio devices; below are the ISA devices a kernel may expect.
    public static let firstInterrupt: UInt32 = 5
    /// I/O APIC pins: 24.
    public static let lastInterrupt: UInt32 = 23

    public static let ioAPIC: UInt64 = 0xfec0_0000
    public static let localAPIC: UInt64 = 0xfee0_0000
    /// Three pages and a page KVM wants outside RAM on Intel hosts.
    public static let tss: UInt64 = 0xfffb_d000
    public static let identityMap: UInt64 = 0xfffb_c000

    // What the boot protocol leaves in low memory.
    static let gdt: UInt64 = 0x500
    static let bootParameters: UInt64 = 0x7000
    static let randomSeed: UInt64 = 0x8000
    static let pageTables: UInt64 = 0x9000
    static let commandLine: UInt64 = 0x2_0000
    /// Last KiB of conventional memory, where a kernel looks for the MP table.
    static let mpTable: UInt64 = 0x9_fc00
    static let conventionalEnd: UInt64 = 0xa_0000
    static let highMemory: UInt64 = 0x10_0000

    /// Guest-physical ranges of `bytes` of RAM.
    public static func ramRanges(_ bytes: Int) -> [(guestAddress: UInt64, count: Int)] {
        let low = min(bytes, Int(holeStart))
        var ranges = [(guestAddress: UInt64(0), count: low)]
        if bytes > low { ranges.append((highStart, bytes - low)) }
        return ranges
    }

    /// Where the guest image is mapped: above all RAM, on a 128 MiB boundary (a memory section of Linux).
    public static func imageAddress(ramBytes: Int) -> UInt64 {
        nextSection(highStart + UInt64(max(0, ramBytes - Int(holeStart))))
    }

    /// Most memory that can be plugged in.
    public static let pluggableSize: UInt64 = 64 << 30

    /// Where it goes: above the image and the shared memory of devices, which must be done within a GiB.
    public static func pluggableAddress(ramBytes: Int, imageBytes: Int) -> UInt64 {
        let gigabyte: UInt64 = 1 << 30
        return ((imageAddress(ramBytes: ramBytes) + UInt64(max(0, imageBytes))) / gigabyte + 2) * gigabyte
    }

    /// The first 128 MiB boundary from `address` on. Addresses here are the VMM's own, far below the end of their range.
    static func nextSection(_ address: UInt64) -> UInt64 {
        let section: UInt64 = 128 << 20
        return (address + section - 1) / section * section
    }
}
