import AgentAPI
import Glibc
import Linux

/// What a network namespace has that its container must find in the guest: what engines and network plugins put there.
struct NetworkScan: Equatable {
    /// Those whose frames can be passed on.
    var interfaces: [NetworkInterface] = []
    var addresses: [InterfaceAddress] = []
    var routes: [Route] = []
    var neighbours: [Neighbour] = []
    /// Names of interfaces that are up and cannot be given to a guest: tunnels.
    var unusable: [String] = []
    /// Taps of machines.
    var taps: [String] = []

    init() {}

    /// Of the calling thread's namespace.
    init(_ socket: RouteSocket) throws(SystemError) {
        for interface in try socket.interfaces() where !interface.isLoopback {
            if MachineTap.isOne(interface) {
                taps.append(interface.name)
            } else if interface.isUp {
                if interface.isEthernet { interfaces.append(interface) } else { unusable.append(interface.name) }
            }
        }
        let indices = Set(interfaces.map(\.index))
        addresses = try socket.addresses().filter { indices.contains($0.interface) }
        // Those that come by themselves with an address, or that a router has told, do so in the guest.
        routes = try socket.routes().filter { indices.contains($0.interface) && $0.origin != Route.kernelOrigin && $0.origin != Self.routerOrigin }
        // What others are reached through comes first.
        routes = routes.filter { $0.gateway == nil } + routes.filter { $0.gateway != nil }
        neighbours = try socket.neighbours().filter { indices.contains($0.interface) }
    }

    /// RTPROT_RA.
    private static let routerOrigin: UInt8 = 9

    /// As the agent is told.
    ///
    /// - Parameter places: of the devices, in the order of ``interfaces``.
    func request(places: [UInt32]) -> ConfigureNetworkRequest {
        let names = Dictionary(interfaces.map { ($0.index, $0.name) }) { first, _ in first }
        return .with { request in
            request.interfaces = zip(interfaces, places).map { interface, place in
                let own = addresses.filter { $0.interface == interface.index }
                return .with {
                    $0.name = interface.name
                    $0.place = place
                    $0.ethernetAddress = .init(interface.address?.bytes ?? [])
                    $0.addresses = own.map { address in
                        .with {
                            $0.address = .init(address.address.bytes)
                            $0.prefixLength = UInt32(address.prefixLength)
                            $0.broadcast = .init(address.broadcast?.bytes ?? [])
                            $0.scope = UInt32(address.scope)
                        }
                    }
                    $0.ipv6Enabled = own.contains { !$0.address.isVersion4 }
                }
            }
            request.routes = routes.map { route in
                .with {
                    $0.interface = names[route.interface] ?? ""
                    $0.isIpv6 = !route.isVersion4
                    $0.destination = .init(route.destination?.bytes ?? [])
                    $0.prefixLength = UInt32(route.prefixLength)
                    $0.gateway = .init(route.gateway?.bytes ?? [])
                    $0.source = .init(route.source?.bytes ?? [])
                    $0.metric = route.metric
                    $0.scope = UInt32(route.scope)
                    $0.origin = UInt32(route.origin)
                    $0.isOnLink = route.isOnLink
                }
            }
            request.neighbours = neighbours.map { neighbour in
                .with {
                    $0.interface = names[neighbour.interface] ?? ""
                    $0.address = .init(neighbour.address.bytes)
                    $0.ethernetAddress = .init(neighbour.hardwareAddress.bytes)
                }
            }
        }
    }
}
