import Glibc
import Linux

/// The network namespace of a container on this host, and what of it was passed on to the machine.
final class SandboxNetwork {
    private let namespace: Descriptor
    private var joined: [NetworkInterface] = []

    /// - Returns: nil for the host's own network namespace, and without rights to enter another.
    init?(ofProcess pid: Int32) throws(SystemError) {
        let namespace = try Descriptor.open("/proc/\(pid)/ns/net", O_RDONLY)
        guard try NamespaceIdentity(namespace) != NamespaceIdentity("/proc/self/ns/net") else { return nil }
        self.namespace = namespace
    }

    /// Whether the machine has interfaces.
    var isJoined: Bool { !joined.isEmpty }

    /// Looks at what there is now, and joins a tap to each interface.
    func join() throws -> (scan: NetworkScan, taps: [MachineTap]) {
        let result = try Self.within(namespace) {
            let socket = try RouteSocket()
            let scan = try NetworkScan(socket)
            guard scan.taps.isEmpty else {
                throw SandboxError(.badInput, "linux.namespaces: network: another virtual machine has this network namespace's interfaces")
            }
            return (scan, try scan.interfaces.map { try MachineTap(joining: $0, socket) })
        }
        joined = result.0.interfaces
        return result
    }

    /// A socket of the namespace's on its way to be connected.
    func socket(_ kind: Descriptor.InternetProtocol, to address: IPAddress, port: UInt16) throws -> Descriptor {
        try Self.within(namespace) { try Descriptor.internetSocket(kind, to: address, port: port) }
    }

    /// Leaves the namespace as it was: others may go on in it.
    func leave() {
        let interfaces = joined.map(\.index)
        joined = []
        guard !interfaces.isEmpty else { return }
        try? Self.within(namespace) {
            let socket = try RouteSocket()
            for index in interfaces { socket.removeRedirect(from: index) }
        }
    }

    /// As ``leave()``, for a monitor that was killed.
    static func removeLeftovers(of path: String) {
        guard let namespace = try? Descriptor.open(path, O_RDONLY | O_NONBLOCK) else { return }
        try? within(namespace) {
            let socket = try RouteSocket()
            let scan = try NetworkScan(socket)
            guard scan.taps.isEmpty else { return }
            for interface in scan.interfaces { socket.removeRedirect(from: interface.index) }
        }
    }

    /// Runs `body` on a thread of its own that is in `namespace`: this one stays where it is, whatever happens.
    private static func within<Value: Sendable>(_ namespace: Descriptor, _ body: @escaping @Sendable () throws -> Value) throws -> Value {
        try Thread.run("network") {
            do throws(SystemError) { try enter(namespace, NamespaceFlag.network) } catch {
                throw SandboxError(.noPermission, "linux.namespaces: network: \(error)")
            }
            return try body()
        }
    }
}
