import GuestMemory
import Linux

/// One stream between a guest's socket and a Unix socket: its state, its credit and what it owes the guest.
///
/// Names of directions are the host's: it *receives* from the guest and *sends* to it.
final class VsockConnection {
    /// A guest port and a host port name a connection: there is one guest and one host.
    struct Key: Hashable {
        let guestPort: UInt32
        let hostPort: UInt32
    }

    enum Phase {
        /// A host process waits for the guest's RESPONSE.
        case requested
        case established
    }

    /// Packets due, besides data.
    struct Owed: OptionSet {
        let rawValue: UInt8
        static let request = Owed(rawValue: 1)
        static let response = Owed(rawValue: 2)
        static let creditUpdate = Owed(rawValue: 4)
        static let creditRequest = Owed(rawValue: 8)
    }

    let key: Key
    let guestCID: UInt64
    let socket: Descriptor
    var phase: Phase
    var owed: Owed = []
    /// In the line of those with something for the guest.
    var isQueued = false
    /// When it is given up, on the monotonic clock.
    var deadline: UInt64?

    // From the guest.
    /// Our receive buffer, `buf_alloc`.
    let window: UInt32
    private var received: UInt32 = 0
    private var forwarded: UInt32 = 0
    private var forwardedTold: UInt32 = 0
    /// What the Unix socket would not take yet; at most `window` bytes.
    private var pending = FIFO<UInt8>()
    /// What the guest said it will not do any more.
    private(set) var guestShutdown: VsockShutdown = []

    // To the guest.
    private var sent: UInt32 = 0
    private var guestWindow: UInt32 = 0
    private var guestForwarded: UInt32 = 0
    /// The Unix socket has, or may have, bytes for the guest.
    var readable = false
    /// The Unix socket's stream has ended.
    private(set) var ended = false
    /// The Unix socket's other end is gone altogether.
    private(set) var hungUp = false
    /// What the guest must be told that the host will not do any more, and what it has been told.
    private(set) var hostShutdown: VsockShutdown = []
    private var hostShutdownTold: VsockShutdown = []
    /// Receive buffers offered to the next read: as many as the traffic fills, since those not used cost time too.
    private var burst = 1

    /// Not in the table any more: what is pending is passed on to the socket, nothing else happens.
    private(set) var isDetached = false
    /// What the socket is registered for at the event loop; nil when it is not.
    var registered: EventLoop.Interest?

    init(_ key: Key, guestCID: UInt64, _ socket: Descriptor, _ phase: Phase, window: UInt32) {
        self.key = key
        self.guestCID = guestCID
        self.socket = socket
        self.phase = phase
        self.window = window
    }

    // MARK: Credit

    /// Takes the credit every packet of the guest carries.
    func takeCredit(_ header: VsockHeader) {
        guestWindow = header.window
        guestForwarded = header.forwarded
    }

    /// Bytes the guest has room for. Its numbers may be anything: none, then.
    var credit: Int {
        let outstanding = sent &- guestForwarded
        return outstanding < guestWindow ? Int(guestWindow - outstanding) : 0
    }

    /// Whether the guest keeps within the window with `count` more bytes.
    func mayReceive(_ count: Int) -> Bool { UInt64(received &- forwarded) + UInt64(count) <= UInt64(window) }

    /// Whether the guest believes half the window is full that is not.
    var creditIsStale: Bool { forwarded &- forwardedTold >= window / 2 }

    // MARK: From the guest

    enum Delivery {
        case done
        /// The Unix socket is full; the rest waits in `pending`.
        case blocked
        /// Nobody reads the Unix socket any more.
        case refused
    }

    var hasPending: Bool { !pending.isEmpty }

    /// Passes `count` bytes of a packet on: straight from guest memory as far as the socket takes them.
    func receive(_ payload: inout GuestBuffer, count: Int) throws(GuestMemoryError) -> Delivery {
        received &+= UInt32(truncatingIfNeeded: count)
        if hostShutdown.contains(.receive) {
            forwarded = received
            return .done
        }
        var went = 0
        if pending.isEmpty {
            do { went = try payload.drain(to: socket, count: count) } catch {
                guard error.errno == .wouldBlock else {
                    forwarded = received
                    return .refused
                }
            }
            forwarded &+= UInt32(truncatingIfNeeded: went)
        }
        if went == count { return .done }
        pending.reserve(count - went)
        pending.append(contentsOf: try payload.readBytes(count - went))
        return .blocked
    }

    /// Passes on what waited.
    func flush() -> Delivery {
        while !pending.isEmpty {
            do {
                let went = try socket.write(pending.contents)
                forwarded &+= UInt32(truncatingIfNeeded: went)
                pending.removeFirst(went)
            } catch {
                return error.errno == .wouldBlock ? .blocked : .refused
            }
        }
        pending.removeAll()
        return .done
    }

    /// Nobody takes what the guest sends: throw it away from here on and tell the guest.
    func refuse() {
        pending.removeAll()
        forwarded = received
        hostShutdown.insert(.receive)
    }

    func shutDownByGuest(_ flags: VsockShutdown) {
        guestShutdown.formUnion(flags)
        if guestShutdown.contains(.receive) { endOfInput() }
    }

    /// Tells the Unix socket's reader that no more comes, once everything has been passed on.
    func endOutputIfDrained() {
        if guestShutdown.contains(.send), pending.isEmpty { try? socket.shutdown(.writing) }
    }

    private func endOfInput() {
        ended = true
        readable = false
        try? socket.shutdown(.reading)
    }

    // MARK: To the guest

    /// The connection has data or a packet for the guest, and may send it.
    var wantsToSend: Bool { !owed.isEmpty || hostShutdown != hostShutdownTold || canRead }

    private var canRead: Bool { readable && phase == .established && !ended && credit > 0 }

    /// The guest's room is used up and there is more.
    var isBlocked: Bool { readable && phase == .established && !ended && credit == 0 }

    /// The guest knows that the host neither sends nor receives any more; its reset is all that is missing.
    var isClosing: Bool { hostShutdownTold == .both }

    /// The Unix socket's other end is gone; what it sent before is still there to be read.
    func hangUp() {
        hungUp = true
        if ended { hostShutdown = .both } else { readable = true }
    }

    /// Ends everything but passing on what is pending.
    func detach() {
        isDetached = true
        ended = true
        readable = false
    }

    /// What to wait for at the Unix socket: nothing that is known already, or it would be reported for ever.
    var interest: EventLoop.Interest {
        var interest: EventLoop.Interest = []
        if phase == .established, !ended, !readable { interest.insert(.readable) }
        if hasPending { interest.insert(.writable) }
        return interest
    }

    /// Sends what is due: control packets, then at most one read's worth of data.
    ///
    /// - Returns: false when the driver's buffers did not suffice.
    func takeTurn(_ queue: VsockReceiveQueue) throws(QueueError) -> Bool {
        guard try settle(.request, VsockHeader.Operation.request, queue),
            try settle(.response, VsockHeader.Operation.response, queue)
        else { return false }
        if canRead {
            let header = header(VsockHeader.Operation.readWrite)
            switch try queue.send(header, from: socket, limit: min(credit, VsockHeader.maximumPayload), buffers: burst) {
            case .noBuffer: return false
            case .sent(let bytes, let buffers, let full):
                sent &+= UInt32(truncatingIfNeeded: bytes)
                told()
                burst = full ? min(2 * burst, VsockReceiveQueue.maximumBatch) : max(buffers, 1)
                // A short read emptied the socket, or nearly: epoll says so if there is more. Of one whose
                // other end is gone epoll says nothing any more.
                if !full, !hungUp { readable = false }
            case .wouldBlock where !hungUp: readable = false
            case .wouldBlock, .endOfStream, .failed:
                ended = true
                readable = false
                hostShutdown.insert(.send)
                if hungUp { hostShutdown = .both }
            }
        }
        if hostShutdown != hostShutdownTold {
            guard try send(VsockHeader.Operation.shutdown, flags: hostShutdown, queue) else { return false }
            hostShutdownTold = hostShutdown
        }
        guard try settle(.creditUpdate, VsockHeader.Operation.creditUpdate, queue),
            try settle(.creditRequest, VsockHeader.Operation.creditRequest, queue)
        else { return false }
        return true
    }

    /// Sends the packet that is owed, if it is: whether it is owed no more.
    private func settle(_ packet: Owed, _ operation: UInt16, _ queue: VsockReceiveQueue) throws(QueueError) -> Bool {
        guard owed.contains(packet) else { return true }
        guard try send(operation, queue) else { return false }
        owed.remove(packet)
        return true
    }

    private func send(_ operation: UInt16, flags: VsockShutdown = [], _ queue: VsockReceiveQueue) throws(QueueError) -> Bool {
        guard try queue.send(header(operation, flags)) else { return false }
        told()
        return true
    }

    /// Every packet carries our credit.
    private func told() {
        forwardedTold = forwarded
        owed.remove(.creditUpdate)
    }

    /// A packet of this connection without payload.
    func header(_ operation: UInt16, _ flags: VsockShutdown = []) -> VsockHeader {
        var header = VsockHeader(operation)
        header.sourceCID = UInt64(SocketAddress.hostCID)
        header.destinationCID = guestCID
        header.sourcePort = key.hostPort
        header.destinationPort = key.guestPort
        header.flags = flags.rawValue
        header.window = window
        header.forwarded = forwarded
        return header
    }
}
