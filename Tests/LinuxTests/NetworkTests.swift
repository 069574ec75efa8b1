import CLinux
import Glibc
import Synchronization
import Testing

@testable import Linux

/// A network namespace of its own, for as long as the test takes: a thread that is in it.
private func inNewNetwork(_ body: @escaping @Sendable (RouteSocket) throws -> Void) throws {
    let failure = Mutex<(any Error)?>(nil)
    let thread = try Thread("network") {
        do {
            try check(clinux_unshare(CLONE_NEWNET), "make a network namespace")
            try body(try RouteSocket())
        } catch {
            failure.withLock { $0 = error }
        }
    }
    thread.join()
    if let error = failure.withLock({ $0 }) { throw error }
}

@Suite("rtnetlink and taps", .enabled(if: geteuid() == 0 && access("/dev/net/tun", W_OK) == 0))
struct NetworkTests {
    private static func find(_ name: String, _ socket: RouteSocket) throws -> NetworkInterface {
        try #require(try socket.interfaces().first { $0.name == name })
    }

    @Test("a new namespace has a loopback that is down; brought up it has its addresses")
    func loopback() throws {
        try inNewNetwork { socket in
            let found = try socket.interfaces()
            #expect(found.first.map { $0.isLoopback && !$0.isUp && !$0.isEthernet } == true)
            try socket.setUp(1)
            #expect(try Self.find("lo", socket).isUp)
            #expect(try socket.addresses().contains { $0.address.description == "127.0.0.1" && $0.prefixLength == 8 && $0.interface == 1 })
        }
    }

    @Test("addresses, routes and neighbours are read back as they were written")
    func roundTrip() throws {
        try inNewNetwork { socket in
            let (tap, name) = try Tap.make("test%d")
            #expect(name == "test0")
            var interface = try Self.find(name, socket)
            #expect(interface.isEthernet && interface.mtu == 1500 && !interface.isUp)
            try socket.setMTU(interface.index, 1400)
            try socket.setNoAutomaticAddress(interface.index)
            try socket.setUp(interface.index)
            try socket.rename(interface.index, "cable")
            interface = try Self.find("cable", socket)
            #expect(interface.mtu == 1400 && interface.isUp)

            let gateway4 = try #require(IPAddress([10, 1, 2, 1])), gateway6 = try #require(IPAddress([0xfd] + [UInt8](repeating: 0, count: 14) + [1]))
            let own4 = try #require(IPAddress([10, 1, 2, 3])), own6 = try #require(IPAddress([0xfd] + [UInt8](repeating: 0, count: 14) + [2]))
            let addresses = [
                InterfaceAddress(interface: interface.index, address: own4, prefixLength: 24, broadcast: IPAddress([10, 1, 2, 255])),
                InterfaceAddress(interface: interface.index, address: own6, prefixLength: 64),
            ]
            for address in addresses { try socket.add(address) }
            #expect(try socket.addresses().filter { $0.interface == interface.index } == addresses)

            let routes = [
                Route(destination: nil, prefixLength: 0, gateway: gateway4, interface: interface.index, isVersion4: true),
                Route(destination: IPAddress([192, 0, 2, 0]), prefixLength: 24, gateway: nil, source: own4, interface: interface.index, metric: 7, scope: 253, isVersion4: true),
                Route(
                    destination: IPAddress([198, 51, 100, 0]), prefixLength: 24, gateway: IPAddress([169, 254, 1, 1]), interface: interface.index, isOnLink: true,
                    isVersion4: true),
                Route(destination: nil, prefixLength: 0, gateway: gateway6, interface: interface.index, metric: 1024, isVersion4: false),
            ]
            for route in routes { try socket.add(route) }
            let found = try socket.routes().filter { $0.interface == interface.index && $0.origin != Route.kernelOrigin }
            for route in routes { #expect(found.contains(route), "\(route) is not in \(found)") }

            let neighbour = Neighbour(interface: interface.index, address: gateway4, hardwareAddress: try #require(MACAddress("02:00:5e:10:00:07")))
            try socket.add(neighbour)
            #expect(try socket.neighbours() == [neighbour])
            withExtendedLifetime(tap) {}
        }
    }

    @Test("a tap goes with its descriptor")
    func tapEnds() throws {
        try inNewNetwork { socket in
            var tap: Descriptor? = try Tap.make("test%d").descriptor
            #expect(try socket.interfaces().count == 2)
            _ = tap
            tap = nil
            #expect(try socket.interfaces().count == 1)
        }
    }

    @Test("what comes in at a tap goes out at the other it is joined to, also joined anew; afterwards no more")
    func redirect() throws {
        try inNewNetwork { socket in
            let taps = try (0..<3).map { _ in try Tap.make("test%d") }
            let indices = try taps.map { try Self.find($0.name, socket).index }
            for (tap, index) in zip(taps, indices) {
                try tap.descriptor.setNonBlocking()
                try socket.setNoAutomaticAddress(index)
                try socket.setUp(index)
            }
            // For somebody else: what is no virtual interface's is not looked at.
            let frame = [UInt8](repeating: 0, count: 12) + [0x02, 0, 0x5e, 0x10, 0, 2, 0x02, 0, 0x5e, 0x10, 0, 1, 0x88, 0xb5] + [UInt8](repeating: 7, count: 50)
            func arrives(at index: Int) throws -> Bool {
                // Frames of an earlier try.
                while taps[index].descriptor.isReady(for: .readable) { _ = try taps[index].descriptor.read(upTo: 2048) }
                _ = try taps[0].descriptor.write(frame)
                while taps[index].descriptor.isReady(for: .readable, milliseconds: 300) {
                    if try taps[index].descriptor.read(upTo: 2048).suffix(64) == frame.suffix(64) { return true }
                }
                return false
            }
            try socket.redirect(from: indices[0], to: indices[1])
            #expect(try arrives(at: 1))
            try socket.redirect(from: indices[0], to: indices[2])
            #expect(try arrives(at: 2))
            #expect(try !arrives(at: 1))
            socket.removeRedirect(from: indices[0])
            #expect(try !arrives(at: 2))
            // Twice does no harm.
            socket.removeRedirect(from: indices[0])
        }
    }

    @Test("answers of the kernel's that end early are taken for what they are")
    func shortAttributes() {
        #expect(NetlinkReply.attributes([]).isEmpty)
        #expect(NetlinkReply.attributes([8, 0, 1]).isEmpty)
        #expect(NetlinkReply.attributes([3, 0, 1, 0]).isEmpty)
        #expect(NetlinkReply.attributes([9, 0, 1, 0, 1, 2, 3, 4]).isEmpty)
        #expect(NetlinkReply.attributes([5, 0, 1, 0x80, 9, 0, 0, 0, 4, 0, 2, 0]).mapValues { Array($0) } == [1: [9], 2: []])
        #expect(NetlinkReply(type: 16, body: [1]).header(UInt32.self, at: 4) == 0)
    }

    @Test("an Ethernet address is read as it is written, and nothing else is one")
    func addresses() {
        #expect(MACAddress("02:00:5e:10:00:ff")?.description == "02:00:5e:10:00:ff")
        #expect(MACAddress("02:00:5e:10:00:ff")?.bytes == [2, 0, 0x5e, 0x10, 0, 0xff])
        for text in ["", "02:00:5e:10:00", "02:00:5e:10:00:ff:00", "2:0:5e:10:0:ff", "02:00:5e:10:00:fg", "02-00-5e-10-00-ff", "+2:00:5e:10:00:ff"] {
            #expect(MACAddress(text) == nil, "\(text)")
        }
        #expect(IPAddress([1, 2, 3]) == nil)
        #expect(IPAddress([0xfe, 0x80] + [UInt8](repeating: 0, count: 13) + [1])?.isLinkLocal == true)
    }
}
