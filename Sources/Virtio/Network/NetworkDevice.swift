public import Linux
import Synchronization

/// An Ethernet device (virtio 1.2, 5.1) whose other end is a tap.
///
/// A slot that may stay empty: until it is plugged in, the guest finds no device in its place (virtio 1.2, 4.2.2.2:
/// device id 0), and has nothing to set up, show or look after. Then the guest is told to look again.
public final class NetworkDevice: VirtioDevice {
    public let deviceID: UInt32 = 1
    public let name = "net"
    public let features = NetworkFeature.offered
    /// receiveq, transmitq (5.1.2).
    public let queueSizes: [UInt16]
    public static let largestQueue: UInt16 = 256
    public let metrics = NetworkMetrics()

    private struct Port {
        var state: NetworkState?
        var link: NetworkLink?
        var interrupt: Interrupt?
    }

    private let port = Mutex(Port())
    private let linkChanged: EventDescriptor
    private let thread = DeviceThreadSlot()

    public init(queueSize: UInt16 = NetworkDevice.largestQueue) throws(SystemError) {
        queueSizes = [queueSize, queueSize]
        linkChanged = try EventDescriptor()
    }

    /// Plugs the device in, if it is not yet, and connects it.
    ///
    /// - Throws: `EEXIST` when it is connected already, or is known to the guest by another address.
    public func connect(_ link: NetworkLink) throws(SystemError) {
        try port.withLock { port throws(SystemError) in
            let state = NetworkState(address: link.address, mtu: link.mtu)
            guard port.link == nil, port.state == nil || port.state == state else { throw SystemError("connect \(name)", .fileExists) }
            port.state = state
            port.link = link
            port.interrupt?.signalConfiguration()
        }
        linkChanged.signal()
    }

    /// Whether ``connect(_:)`` would take it: the slot is empty, or it is the device that was connected in another life.
    ///
    /// - Parameter known: only the latter.
    public func canTake(_ link: NetworkLink, known: Bool) -> Bool {
        port.withLock { port in
            guard let state = port.state else { return !known }
            return port.link == nil && state == NetworkState(address: link.address, mtu: link.mtu)
        }
    }

    public var isPlugged: Bool { port.withLock { $0.state != nil } }

    /// `u8 mac[6]; le16 status, max_virtqueue_pairs, mtu` (5.1.4).
    public var configuration: [UInt8] {
        port.withLock { port in
            let state = port.state ?? NetworkState(address: .zero, mtu: 0)
            let status: UInt8 = port.link == nil ? 0 : NetworkFeature.linkUp
            return state.address.bytes + [status, 0, 1, 0, UInt8(truncatingIfNeeded: state.mtu), UInt8(truncatingIfNeeded: state.mtu >> 8)]
        }
    }

    public func activate(_ activation: Activation) throws(SystemError) {
        guard let receive = activation.queues[0], let transmit = activation.queues[1] else { return }
        port.withLock { $0.interrupt = activation.interrupt }
        let (linkChanged, metrics) = (linkChanged, metrics)
        thread.hold(
            try DeviceThread(name) { [weak self] loop in
                let handler = NetworkHandler(receive: receive, transmit: transmit, activation, metrics, loop)
                let useLink = { handler.use(self?.port.withLock { $0.link }) { self?.lose($0) } }
                try handler.start()
                try loop.add(linkChanged.descriptor, .readable) { _ in
                    linkChanged.drain()
                    useLink()
                }
                // Before the first frame is looked at: it would be dropped.
                useLink()
            })
    }

    /// The tap is gone: somebody deleted the interface.
    private func lose(_ link: NetworkLink) {
        port.withLock { port in
            guard port.link?.frames === link.frames else { return }
            port.link = nil
            port.interrupt?.signalConfiguration()
        }
    }

    public func reset() {
        port.withLock { $0.interrupt = nil }
        thread.stop()
    }

    public func pause() { thread.pause() }

    public func resume() { thread.resume() }

    public func savedState() throws(SystemError) -> [UInt8] { port.withLock { $0.state?.encoded ?? [] } }

    public func restoreState(_ bytes: [UInt8]) throws(SystemError) {
        let state = try NetworkState(encoded: bytes)
        port.withLock { $0.state = state }
    }
}

/// What a network device is connected to.
public struct NetworkLink: Sendable {
    /// A read takes, and a write gives, one frame after a `struct virtio_net_hdr_v1`; does not block.
    let frames: Descriptor
    /// The guest's: frames it sends from another are dropped.
    let address: MACAddress
    /// Longest payload of a frame, bytes.
    let mtu: UInt16
    /// Tells the other end what may be left to the guest; a bit of ``NetworkFeature`` each.
    let accept: @Sendable (_ features: UInt64) throws(SystemError) -> Void

    /// - Parameter accept: called at each start of a driver, on the device's thread.
    public init(
        frames: Descriptor, address: MACAddress, mtu: UInt16, accept: @escaping @Sendable (_ features: UInt64) throws(SystemError) -> Void
    ) throws(SystemError) {
        try frames.setNonBlocking()
        self.frames = frames
        self.address = address
        self.mtu = mtu
        self.accept = accept
    }
}

/// Feature bits of virtio 1.2, 5.1.3, and what goes with them.
public enum NetworkFeature {
    public static let checksum: UInt64 = 1 << 0
    public static let guestChecksum: UInt64 = 1 << 1
    public static let mtu: UInt64 = 1 << 3
    public static let address: UInt64 = 1 << 5
    public static let guestSegments4: UInt64 = 1 << 7
    public static let guestSegments6: UInt64 = 1 << 8
    public static let guestCongestion: UInt64 = 1 << 9
    public static let hostSegments4: UInt64 = 1 << 11
    public static let hostSegments6: UInt64 = 1 << 12
    public static let hostCongestion: UInt64 = 1 << 13
    public static let mergedBuffers: UInt64 = 1 << 15
    public static let status: UInt64 = 1 << 16

    /// No control queue: the agent sets address and MTU as the guest's kernel keeps them, and the tap's own filter is the host's.
    static let offered =
        checksum | guestChecksum | mtu | address | guestSegments4 | guestSegments6 | guestCongestion | hostSegments4 | hostSegments6 | hostCongestion
        | mergedBuffers | status

    /// VIRTIO_NET_S_LINK_UP (5.1.4).
    static let linkUp: UInt8 = 1
}
