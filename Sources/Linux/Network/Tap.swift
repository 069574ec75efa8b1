import CLinux
import Glibc

/// A tap (Documentation/networking/tuntap.rst): an Ethernet interface of the host whose cable ends in a descriptor.
public enum Tap {
    /// What may be left undone in frames that are read (TUN_F_*).
    public struct Offloads: OptionSet, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let checksum = Offloads(rawValue: 1)
        public static let segments4 = Offloads(rawValue: 2)
        public static let segments6 = Offloads(rawValue: 4)
        /// Segments with ECN.
        public static let congestion = Offloads(rawValue: 8)
    }

    // linux/if_tun.h
    private static let setInterface: UInt = 0x4004_54ca
    private static let setHeaderSize: UInt = 0x4004_54d8
    /// TUNSETOFFLOAD, for system call filters.
    public static let setOffloads: UInt = 0x4004_54d0
    /// IFF_TAP, IFF_NO_PI, IFF_VNET_HDR.
    private static let flags: UInt16 = 0x0002 | 0x1000 | 0x4000
    static let nameLimit = 15

    /// Makes an interface in the calling thread's network namespace, which goes with the descriptor: each read or write is
    /// one frame, after a `struct virtio_net_hdr_v1`.
    ///
    /// - Parameter name: `%d` in it becomes the first number that is free.
    /// - Returns: the descriptor, and the interface's name.
    public static func make(_ name: String) throws(SystemError) -> (descriptor: Descriptor, name: String) {
        let bytes = Array(name.utf8)
        guard bytes.count <= nameLimit else { throw SystemError("tap \(name)", .fileNameTooLong) }
        let tap = try Descriptor.open("/dev/net/tun", O_RDWR)
        // struct ifreq: 16 bytes of name, 16 of flags, 8 of padding.
        var request = bytes + [UInt8](repeating: 0, count: 40 - bytes.count)
        request[16] = UInt8(truncatingIfNeeded: flags)
        request[17] = UInt8(truncatingIfNeeded: flags >> 8)
        try check(
            unsafe request.withUnsafeMutableBytes { clinux_ioctl(tap.raw, setInterface, UInt(bitPattern: $0.baseAddress)) }, "make tap \(name)")
        var size: Int32 = 12
        try check(unsafe withUnsafeMutablePointer(to: &size) { clinux_ioctl(tap.raw, setHeaderSize, UInt(bitPattern: $0)) }, "set up tap \(name)")
        return (tap, String(decoding: request.prefix(16).prefix { $0 != 0 }, as: UTF8.self))
    }

    /// Whoever reads from `tap` finishes what is in `offloads` himself.
    public static func accept(_ offloads: Offloads, from tap: Descriptor) throws(SystemError) {
        try check(clinux_ioctl(tap.raw, setOffloads, UInt(offloads.rawValue)), "set up tap")
    }
}
