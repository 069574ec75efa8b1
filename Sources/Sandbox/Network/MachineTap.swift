import Linux

/// A tap joined to an interface of the same network namespace: what comes in at either goes out at the other, before the
/// namespace's own network stack sees it (the guest has one of its own, with the same addresses).
///
/// The interface itself stays as it is, so that whoever made it finds it, and two queues' filters are all that changes. The tap
/// goes with its descriptor, which the VMM holds.
struct MachineTap {
    private static let prefix = "microvm"

    let interface: NetworkInterface
    let descriptor: Descriptor

    /// In the calling thread's network namespace.
    init(joining interface: NetworkInterface, _ socket: RouteSocket) throws {
        self.interface = interface
        let (descriptor, name) = try Tap.make("\(Self.prefix)%d")
        self.descriptor = descriptor
        guard let tap = try socket.interfaces().first(where: { $0.name == name }) else {
            throw SystemError("find tap \(name)", .noSuchFileOrDirectory)
        }
        try socket.setMTU(tap.index, interface.mtu)
        // It is a cable, not a host.
        try? socket.setNoAutomaticAddress(tap.index)
        try socket.redirect(from: tap.index, to: interface.index)
        try socket.setUp(tap.index)
        try socket.redirect(from: interface.index, to: tap.index)
    }

    static func isOne(_ interface: NetworkInterface) -> Bool {
        interface.name.hasPrefix(prefix) && UInt(interface.name.dropFirst(prefix.count)) != nil
    }
}
