import Linux
import Synchronization

/// A socket device (virtio 1.2, 5.10), served to the host as Unix sockets the way Firecracker does.
///
/// - A host process connects to the listener, says `CONNECT <port>\n`, reads `OK <host port>\n`, and is
///   connected to whoever listens on that port in the guest.
/// - A guest's connection to the host (context id 2), port P, goes to the Unix socket `<path>_P`.
public final class VsockDevice: VirtioDevice {
    public let deviceID: UInt32 = 19
    public let name = "vsock"
    /// None: streams only (5.10.3).
    public let features: UInt64 = 0
    /// rx, tx, event (5.10.2). A full packet takes 18 of Linux's receive buffers.
    public let queueSizes: [UInt16]
    public let metrics = VsockMetrics()
    /// What a snapshot keeps.
    public let state: VsockState

    private let listener: Descriptor
    private let path: String
    private let limits: VsockLimits
    private let hostPorts = VsockHostPorts()
    private let announceReset: Bool
    private let thread = Mutex<DeviceThread?>(nil)

    /// - Parameters:
    ///   - guestCID: the guest's context id, above 2.
    ///   - listener: a listening Unix stream socket.
    ///   - path: what host sockets for guest connections begin with.
    ///   - limits: what the guest may hold.
    ///   - receiveBuffers: how many the guest may have ready, a power of two; it fills the queue when it boots.
    ///   - restored: the guest comes from a snapshot and must be told that its connections are gone.
    public init(
        guestCID: UInt32, listener: Descriptor, path: String, limits: VsockLimits = VsockLimits(), receiveBuffers: UInt16 = 256, restored: Bool = false
    ) {
        queueSizes = [receiveBuffers, 256, 16]
        state = VsockState(guestCID: UInt64(guestCID))
        self.listener = listener
        self.path = path
        self.limits = limits
        announceReset = restored
    }

    /// `le64 guest_cid` (5.10.4).
    public var configuration: [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: state.guestCID >> (8 * $0)) } }

    public func activate(_ activation: Activation) throws(SystemError) {
        guard let receive = activation.queues[0], let transmit = activation.queues[1] else { return }
        let event = activation.queues[2]
        try listener.setNonBlocking()
        let (guestCID, listener, path, hostPorts, limits, metrics, announceReset) = (
            state.guestCID, listener, path, hostPorts, limits, metrics, announceReset
        )
        let started = try DeviceThread(name) { loop in
            let handler = VsockHandler(
                guestCID: guestCID, receive: receive, transmit: transmit, event: event, interrupt: activation.interrupt, listener: listener,
                path: path, hostPorts: hostPorts, limits: limits, metrics: metrics, loop: loop)
            try handler.start(announceReset: announceReset)
        }
        thread.withLock { $0 = started }
    }

    public func reset() {
        thread.withLock {
            $0?.stop()
            $0 = nil
        }
    }

    public func pause() { thread.withLock { $0?.pause() } }

    public func resume() { thread.withLock { $0?.resume() } }

    /// The next port of the host's, 4 bytes.
    public func savedState() -> [UInt8] {
        var writer = StateWriter()
        writer.write(hostPorts.position)
        return writer.bytes
    }

    public func restoreState(_ bytes: [UInt8]) throws {
        var reader = StateReader(bytes[...])
        guard hostPorts.set(try reader.read()), reader.isAtEnd else { throw SnapshotError("vsock: the host's next port") }
    }
}
