import Glibc

/// An IPv4 or IPv6 address.
public struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    /// Four or sixteen.
    public let bytes: [UInt8]

    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = Array(bytes)
    }

    public var isVersion4: Bool { bytes.count == 4 }

    /// `AF_INET` or `AF_INET6`.
    var family: UInt8 { UInt8(isVersion4 ? AF_INET : AF_INET6) }

    /// Bits of the longest prefix.
    public var bitCount: UInt8 { isVersion4 ? 32 : 128 }

    /// fe80::/10.
    public var isLinkLocal: Bool { !isVersion4 && bytes[0] == 0xfe && bytes[1] & 0xc0 == 0x80 }

    /// ff00::/8 or 224.0.0.0/4.
    public var isMulticast: Bool { isVersion4 ? bytes[0] & 0xf0 == 0xe0 : bytes[0] == 0xff }

    public var description: String {
        if isVersion4 { return bytes.map(String.init).joined(separator: ".") }
        return stride(from: 0, to: 16, by: 2).map { String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16) }.joined(separator: ":")
    }
}
