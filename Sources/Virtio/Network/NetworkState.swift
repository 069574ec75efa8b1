public import Linux

/// What a snapshot keeps of a network device: that it is plugged in, and what its driver knows of it. The tap is another
/// each time; until it is given, the link is down.
public struct NetworkState: Equatable, Sendable {
    public let address: MACAddress
    public let mtu: UInt16

    public init(address: MACAddress, mtu: UInt16) {
        self.address = address
        self.mtu = mtu
    }

    var encoded: [UInt8] { address.bytes + [UInt8(truncatingIfNeeded: mtu), UInt8(truncatingIfNeeded: mtu >> 8)] }

    /// - Returns: nil for an empty slot.
    init?(encoded bytes: [UInt8]) throws(SystemError) {
        if bytes.isEmpty { return nil }
        guard bytes.count == 8, let address = MACAddress(bytes[..<6]) else {
            throw SystemError("device state: \(bytes.count) bytes for a network device", .invalidArgument)
        }
        self.init(address: address, mtu: UInt16(bytes[6]) | UInt16(bytes[7]) << 8)
    }
}
