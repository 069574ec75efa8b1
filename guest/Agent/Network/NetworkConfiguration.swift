import AgentAPI
import Glibc
import Linux
import TTRPC

/// What the machine's network interfaces are to have, and how they get it.
///
/// An interface of the host's namespace and one of the guest's are the same to everybody else: same name, same Ethernet
/// address, same addresses. So nothing here asks the network anything, such as whether an address is free.
struct NetworkConfiguration {
    private let request: ConfigureNetworkRequest

    init(_ request: ConfigureNetworkRequest) {
        self.request = request
    }

    /// Waits for nothing: devices are there when the host asks.
    ///
    /// - Parameter pid: of a process in the network namespace they are for; nil: this process's.
    func apply(inNamespaceOf pid: Int32? = nil) throws {
        for interface in request.interfaces { try NetworkDevices.find(place: interface.place) }
        guard let pid else { return try configure() }
        // Devices appear here, and lose what they have when they are moved. Those from before a snapshot are there.
        let socket = try RouteSocket()
        let wanted = request.interfaces.map { MACAddress($0.ethernetAddress) }
        for interface in try socket.interfaces() where interface.isEthernet && wanted.contains(interface.address) {
            try socket.move(interface.index, toNamespaceOf: pid)
        }
        try inNetworkNamespace(of: pid) { try configure() }
    }

    private func configure() throws {
        let socket = try RouteSocket()
        let present = try socket.interfaces()
        let interfaces = try request.interfaces.map { wanted in
            let address = MACAddress(wanted.ethernetAddress)
            guard let address, let found = present.first(where: { $0.address == address }) else {
                throw Status(.notFound, "no network device has the address of \(wanted.name)")
            }
            return (wanted: wanted, found: found)
        }
        // Two may want each other's names.
        let renamed = interfaces.filter { $0.found.name != $0.wanted.name }
        if renamed.count > 1 { for (_, found) in renamed { try socket.rename(found.index, "renamed\(found.index)") } }
        for (wanted, found) in renamed { try socket.rename(found.index, wanted.name) }
        for (wanted, found) in interfaces { try configure(found.index, wanted, socket) }
        let indices = Dictionary(interfaces.map { ($0.wanted.name, $0.found.index) }) { first, _ in first }
        for route in request.routes { try socket.add(Route(route, interface: Self.index(route.interface, indices))) }
        for neighbour in request.neighbours { try socket.add(Neighbour(neighbour, interface: Self.index(neighbour.interface, indices))) }
    }

    private func configure(_ index: Int32, _ interface: ConfigureNetworkRequest.Interface, _ socket: RouteSocket) throws {
        if interface.ipv6Enabled {
            try socket.setNoAutomaticAddress(index)
        } else {
            _ = try Descriptor.open("/proc/sys/net/ipv6/conf/\(interface.name)/disable_ipv6", O_WRONLY).write(Array("1".utf8))
        }
        for address in interface.addresses { try socket.add(InterfaceAddress(address, interface: index)) }
        try socket.setUp(index)
    }

    private static func index(_ name: String, _ indices: [String: Int32]) throws(Status) -> Int32 {
        guard let index = indices[name] else { throw Status(.invalidArgument, "interface \(name) is not one of those to be configured") }
        return index
    }
}

private func required(_ bytes: some Collection<UInt8>, _ what: String) throws(Status) -> IPAddress {
    guard let address = IPAddress(bytes) else { throw Status(.invalidArgument, "\(what): \(bytes.count) bytes are no address") }
    return address
}

private func optionalAddress(_ bytes: some Collection<UInt8>, _ what: String) throws(Status) -> IPAddress? {
    bytes.isEmpty ? nil : try required(bytes, what)
}

extension InterfaceAddress {
    fileprivate init(_ wanted: ConfigureNetworkRequest.Address, interface: Int32) throws(Status) {
        self.init(
            interface: interface, address: try required(wanted.address, "address"), prefixLength: UInt8(clamping: wanted.prefixLength),
            broadcast: try optionalAddress(wanted.broadcast, "broadcast"), scope: UInt8(clamping: wanted.scope))
    }
}

extension Route {
    fileprivate init(_ wanted: ConfigureNetworkRequest.Route, interface: Int32) throws(Status) {
        self.init(
            destination: try optionalAddress(wanted.destination, "destination"), prefixLength: UInt8(clamping: wanted.prefixLength),
            gateway: try optionalAddress(wanted.gateway, "gateway"), source: try optionalAddress(wanted.source, "source"), interface: interface,
            metric: wanted.metric, scope: UInt8(clamping: wanted.scope), origin: UInt8(clamping: wanted.origin), isOnLink: wanted.isOnLink,
            isVersion4: !wanted.isIpv6)
    }
}

extension Neighbour {
    fileprivate init(_ wanted: ConfigureNetworkRequest.Neighbour, interface: Int32) throws(Status) {
        guard let hardware = MACAddress(wanted.ethernetAddress) else { throw Status(.invalidArgument, "neighbour: no Ethernet address") }
        self.init(interface: interface, address: try required(wanted.address, "neighbour"), hardwareAddress: hardware)
    }
}
