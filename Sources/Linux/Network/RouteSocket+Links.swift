import Glibc

/// A network interface.
public struct NetworkInterface: Equatable, Sendable {
    public var index: Int32
    public var name: String
    /// ARPHRD_*.
    public var hardwareType: UInt16
    public var address: MACAddress?
    public var mtu: UInt32
    public var isUp: Bool
    /// Nobody answers ARP here: loopback, tunnels.
    public var isLoopback: Bool

    /// Frames are Ethernet's.
    public var isEthernet: Bool { hardwareType == 1 && address != nil }
}

extension RouteSocket {
    // linux/rtnetlink.h, linux/if_link.h
    private static let newLink: UInt16 = 16, deleteLink: UInt16 = 17, getLink: UInt16 = 18
    private static let address: UInt16 = 1, name: UInt16 = 3, mtu: UInt16 = 4, familyPart: UInt16 = 26, processID: UInt16 = 19
    private static let version6Part: UInt16 = 10, addressMode: UInt16 = 8
    private static let isUp: UInt32 = 1, isLoopback: UInt32 = 8
    private static let headerSize = 16

    /// `struct ifinfomsg`: family, type, index, flags, mask of flags.
    private static func header(index: Int32 = 0, flags: UInt32 = 0, mask: UInt32 = 0) -> [UInt8] {
        [0, 0, 0, 0] + littleEndianBytes(index) + littleEndianBytes(flags) + littleEndianBytes(mask)
    }

    /// Every interface, in the order of their numbers.
    public func interfaces() throws(SystemError) -> [NetworkInterface] {
        let replies = try list(NetlinkMessage(Self.getLink, header: Self.header()), "list interfaces")
        let found = replies.filter { $0.type == Self.newLink }.map { reply in
            let attributes = reply.attributes(after: Self.headerSize)
            let flags = reply.header(UInt32.self, at: 8)
            return NetworkInterface(
                index: reply.header(at: 4), name: String(decoding: (attributes[Self.name] ?? []).prefix { $0 != 0 }, as: UTF8.self),
                hardwareType: reply.header(at: 2), address: attributes[Self.address].flatMap { MACAddress($0) },
                mtu: littleEndian(attributes[Self.mtu] ?? []), isUp: flags & Self.isUp != 0, isLoopback: flags & Self.isLoopback != 0)
        }
        return found.sorted { $0.index < $1.index }
    }

    /// Brings an interface up or down.
    public func setUp(_ interface: Int32, _ isUp: Bool = true) throws(SystemError) {
        try change(
            NetlinkMessage(Self.newLink, header: Self.header(index: interface, flags: isUp ? Self.isUp : 0, mask: Self.isUp)),
            "bring interface \(isUp ? "up" : "down")")
    }

    public func setMTU(_ interface: Int32, _ mtu: UInt32) throws(SystemError) {
        var message = NetlinkMessage(Self.newLink, header: Self.header(index: interface))
        message.add(Self.mtu, mtu)
        try change(message, "set MTU")
    }

    public func rename(_ interface: Int32, _ name: String) throws(SystemError) {
        var message = NetlinkMessage(Self.newLink, header: Self.header(index: interface))
        message.add(Self.name, text: name)
        try change(message, "name interface \(name)")
    }

    /// Moves an interface, which loses its addresses, to the network namespace of process `pid`.
    public func move(_ interface: Int32, toNamespaceOf pid: Int32) throws(SystemError) {
        var message = NetlinkMessage(Self.newLink, header: Self.header(index: interface))
        message.add(Self.processID, UInt32(bitPattern: pid))
        try change(message, "move interface")
    }

    public func removeInterface(_ interface: Int32) throws(SystemError) {
        try change(NetlinkMessage(Self.deleteLink, header: Self.header(index: interface)), "remove interface")
    }

    /// Has the kernel give an interface no IPv6 address of its own making (`addrgenmode none`).
    public func setNoAutomaticAddress(_ interface: Int32) throws(SystemError) {
        var message = NetlinkMessage(Self.newLink, header: Self.header(index: interface))
        message.nest(Self.familyPart) { $0.nest(Self.version6Part) { $0.add(Self.addressMode, UInt8(1)) } }
        try change(message, "keep IPv6 from making addresses")
    }
}
