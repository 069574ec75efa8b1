import Glibc

/// An address of an interface.
public struct InterfaceAddress: Equatable, Sendable {
    public var interface: Int32
    public var address: IPAddress
    public var prefixLength: UInt8
    public var broadcast: IPAddress?
    /// RT_SCOPE_*.
    public var scope: UInt8

    public init(interface: Int32, address: IPAddress, prefixLength: UInt8, broadcast: IPAddress? = nil, scope: UInt8 = 0) {
        self.interface = interface
        self.address = address
        self.prefixLength = prefixLength
        self.broadcast = broadcast
        self.scope = scope
    }
}

/// Where packets to a destination go.
public struct Route: Equatable, Sendable {
    /// nil: everywhere else.
    public var destination: IPAddress?
    public var prefixLength: UInt8
    public var gateway: IPAddress?
    /// The address to send from.
    public var source: IPAddress?
    public var interface: Int32
    public var metric: UInt32
    /// RT_SCOPE_*.
    public var scope: UInt8
    /// RTPROT_*: who made it.
    public var origin: UInt8
    /// The gateway is reached though no address says so.
    public var isOnLink: Bool
    /// Of an IPv4 or an IPv6 network.
    public var isVersion4: Bool

    public init(
        destination: IPAddress?, prefixLength: UInt8, gateway: IPAddress?, source: IPAddress? = nil, interface: Int32, metric: UInt32 = 0,
        scope: UInt8 = 0, origin: UInt8 = 3, isOnLink: Bool = false, isVersion4: Bool
    ) {
        self.destination = destination
        self.prefixLength = prefixLength
        self.gateway = gateway
        self.source = source
        self.interface = interface
        self.metric = metric
        self.scope = scope
        self.origin = origin
        self.isOnLink = isOnLink
        self.isVersion4 = isVersion4
    }

    /// RTPROT_KERNEL: goes with an address.
    public static let kernelOrigin: UInt8 = 2
}

/// The Ethernet address of a neighbour that somebody has written down.
public struct Neighbour: Equatable, Sendable {
    public var interface: Int32
    public var address: IPAddress
    public var hardwareAddress: MACAddress

    public init(interface: Int32, address: IPAddress, hardwareAddress: MACAddress) {
        self.interface = interface
        self.address = address
        self.hardwareAddress = hardwareAddress
    }
}

extension RouteSocket {
    // linux/rtnetlink.h, linux/if_addr.h, linux/neighbour.h
    private static let newAddress: UInt16 = 20, getAddress: UInt16 = 22
    private static let newRoute: UInt16 = 24, getRoute: UInt16 = 26
    private static let newNeighbour: UInt16 = 28, getNeighbour: UInt16 = 30
    private static let anyAddress: UInt16 = 1, localAddress: UInt16 = 2, broadcast: UInt16 = 4
    private static let destination: UInt16 = 1, output: UInt16 = 4, gateway: UInt16 = 5, priority: UInt16 = 6, preferredSource: UInt16 = 7
    private static let neighbourAddress: UInt16 = 1, hardwareAddress: UInt16 = 2
    /// IFA_F_NODAD: it is the only one of this address.
    private static let unchecked: UInt8 = 0x02
    private static let mainTable: UInt8 = 254, unicast: UInt8 = 1, onLink: UInt32 = 4
    private static let permanent: UInt16 = 0x80

    // MARK: Addresses

    /// `struct ifaddrmsg`: family, prefix length, flags, scope, interface.
    public func addresses() throws(SystemError) -> [InterfaceAddress] {
        let replies = try list(NetlinkMessage(Self.getAddress, header: [UInt8](repeating: 0, count: 8)), "list addresses")
        return replies.filter { $0.type == Self.newAddress && $0.body.count >= 8 }.compactMap { reply in
            let attributes = reply.attributes(after: 8)
            // With a peer the one is ours and the other the peer's.
            guard let address = (attributes[Self.localAddress] ?? attributes[Self.anyAddress]).flatMap({ IPAddress($0) }) else { return nil }
            return InterfaceAddress(
                interface: reply.header(at: 4), address: address, prefixLength: reply.header(at: 1),
                broadcast: attributes[Self.broadcast].flatMap { IPAddress($0) }, scope: reply.header(at: 3))
        }
    }

    /// An IPv6 address is usable at once: it was looked for on the network where it comes from.
    public func add(_ address: InterfaceAddress) throws(SystemError) {
        let flags = address.address.isVersion4 ? 0 : Self.unchecked
        var message = NetlinkMessage(
            Self.newAddress,
            header: [address.address.family, address.prefixLength, flags, address.scope] + littleEndianBytes(address.interface))
        message.add(Self.localAddress, address.address.bytes)
        message.add(Self.anyAddress, address.address.bytes)
        if let broadcast = address.broadcast { message.add(Self.broadcast, broadcast.bytes) }
        try change(message, "add address \(address.address)/\(address.prefixLength)", flags: Self.create | Self.replace)
    }

    // MARK: Routes

    /// The main table's, to single gateways. `struct rtmsg`: family, lengths of destination and source, TOS, table, protocol, scope,
    /// type, flags.
    public func routes() throws(SystemError) -> [Route] {
        let replies = try list(NetlinkMessage(Self.getRoute, header: [UInt8](repeating: 0, count: 12)), "list routes")
        return replies.filter { $0.type == Self.newRoute && $0.body.count >= 12 }.compactMap { reply in
            let family = Int32(reply.header(UInt8.self, at: 0))
            guard family == AF_INET || family == AF_INET6, reply.header(UInt8.self, at: 4) == Self.mainTable,
                reply.header(UInt8.self, at: 7) == Self.unicast
            else { return nil }
            let attributes = reply.attributes(after: 12)
            guard let interface = attributes[Self.output].map({ littleEndian($0, as: Int32.self) }) else { return nil }
            return Route(
                destination: attributes[Self.destination].flatMap { IPAddress($0) }, prefixLength: reply.header(at: 1),
                gateway: attributes[Self.gateway].flatMap { IPAddress($0) }, source: attributes[Self.preferredSource].flatMap { IPAddress($0) },
                interface: interface, metric: littleEndian(attributes[Self.priority] ?? []), scope: reply.header(at: 6),
                origin: reply.header(at: 5), isOnLink: reply.header(UInt32.self, at: 8) & Self.onLink != 0, isVersion4: family == AF_INET)
        }
    }

    public func add(_ route: Route) throws(SystemError) {
        let family = UInt8(route.isVersion4 ? AF_INET : AF_INET6)
        var message = NetlinkMessage(
            Self.newRoute,
            header: [family, route.prefixLength, 0, 0, Self.mainTable, route.origin, route.scope, Self.unicast]
                + littleEndianBytes(route.isOnLink ? Self.onLink : 0))
        if let destination = route.destination { message.add(Self.destination, destination.bytes) }
        if let gateway = route.gateway { message.add(Self.gateway, gateway.bytes) }
        if let source = route.source { message.add(Self.preferredSource, source.bytes) }
        if route.metric != 0 { message.add(Self.priority, route.metric) }
        message.add(Self.output, UInt32(bitPattern: route.interface))
        let name = route.destination.map { "\($0)/\(route.prefixLength)" } ?? "default"
        try change(message, "add route \(name)", flags: Self.create | Self.replace)
    }

    // MARK: Neighbours

    /// Those that never expire. `struct ndmsg`: family, padding, interface, state, flags, type.
    public func neighbours() throws(SystemError) -> [Neighbour] {
        let replies = try list(NetlinkMessage(Self.getNeighbour, header: [UInt8](repeating: 0, count: 12)), "list neighbours")
        return replies.filter { $0.type == Self.newNeighbour && $0.body.count >= 12 }.compactMap { reply in
            guard reply.header(UInt16.self, at: 8) & Self.permanent != 0 else { return nil }
            let attributes = reply.attributes(after: 12)
            guard let address = attributes[Self.neighbourAddress].flatMap({ IPAddress($0) }),
                let hardware = attributes[Self.hardwareAddress].flatMap({ MACAddress($0) })
            else { return nil }
            return Neighbour(interface: reply.header(at: 4), address: address, hardwareAddress: hardware)
        }
    }

    public func add(_ neighbour: Neighbour) throws(SystemError) {
        var message = NetlinkMessage(
            Self.newNeighbour,
            header: [neighbour.address.family, 0, 0, 0] + littleEndianBytes(neighbour.interface) + littleEndianBytes(Self.permanent) + [0, 0])
        message.add(Self.neighbourAddress, neighbour.address.bytes)
        message.add(Self.hardwareAddress, neighbour.hardwareAddress.bytes)
        try change(message, "add neighbour \(neighbour.address)", flags: Self.create | Self.replace)
    }
}
