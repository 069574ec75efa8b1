import GuestMemory
import Linux

/// Moves packets between the guest's queues and Unix sockets, on the device's thread.
///
/// Each batch of events first takes what came in: packets from the guest go straight to their sockets,
/// sockets with data join a line. Then the line is served round robin as far as the guest has
/// buffers, and the guest is interrupted once for everything.
final class VsockHandler {
    /// Packets taken, and turns given, before the thread looks at its other duties.
    static let batchLimit = 64
    /// Resets owed to connections that do not exist. A guest that never takes one loses the rest.
    static let resetLimit = 1024
    private static let sweepNanoseconds: UInt64 = 1_000_000_000
    /// VIRTIO_VSOCK_EVENT_TRANSPORT_RESET.
    private static let transportReset: UInt32 = 0

    let guestCID: UInt64
    let receive: VsockReceiveQueue
    let transmit: Queue
    let listener: Descriptor
    let path: String
    let hostPorts: VsockHostPorts
    let limits: VsockLimits
    let metrics: VsockMetrics
    unowned let loop: EventLoop
    private let event: Queue?
    private let interrupt: Interrupt

    var connections: [VsockConnection.Key: VsockConnection] = [:]
    /// Connections the guest is done with whose last bytes wait for a slow reader, by descriptor.
    var draining: [Int32: VsockConnection] = [:]
    var handshakes: [Int32: VsockHandshake] = [:]
    /// Connections in phase `requested`.
    var requested = 0
    var listening: Listening = .on
    var chain = DescriptorChain()

    private var line = FIFO<VsockConnection>()
    private var resets = FIFO<VsockHeader>()
    private var sweeping = false
    private var broken = false
    private var announcement: Announcement = .none
    private var announcementChain = DescriptorChain()

    enum Listening {
        case on
        /// Until there is room.
        case full
        /// Until the next sweep: the process is out of descriptors.
        case failing
    }

    /// The transport reset event of a restored guest (virtio 1.2, 5.10.6.8). Until the driver has seen it
    /// nothing else may reach the guest, or the reset would end new connections too.
    private enum Announcement {
        case none
        case due
        /// The driver takes the event and then offers its buffer anew.
        case sent
    }

    init(
        guestCID: UInt64, receive: Queue, transmit: Queue, event: Queue?, interrupt: Interrupt, listener: Descriptor, path: String,
        hostPorts: VsockHostPorts, limits: VsockLimits, metrics: VsockMetrics, loop: EventLoop
    ) {
        self.guestCID = guestCID
        self.receive = VsockReceiveQueue(receive, metrics)
        self.transmit = transmit
        self.event = event
        self.interrupt = interrupt
        self.listener = listener
        self.path = path
        self.hostPorts = hostPorts
        self.limits = limits
        self.metrics = metrics
        self.loop = loop
    }

    /// Registers everything with the loop, which keeps this object from here on.
    func start(announceReset: Bool) throws(SystemError) {
        if announceReset { announcement = .due }
        try serve(transmit) { () throws(QueueError) in try self.takePackets() }
        // New buffers: the line is served after every batch.
        try serve(receive.queue) {}
        if let event { try serve(event) { () throws(QueueError) in try self.announce(event) } }
        try loop.add(listener, .readable) { [unowned self] _ in acceptConnections() }
        loop.afterBatch = { [unowned self] in finishBatch() }
        for queue in [transmit, receive.queue, event] { queue?.notification.signal() }
    }

    private func serve(_ queue: Queue, _ handle: @escaping () throws(QueueError) -> Void) throws(SystemError) {
        try loop.serve(queue, interrupt) { () throws(QueueError) in
            do throws(QueueError) { if !self.broken { try handle() } } catch {
                self.breakDown()
                throw error
            }
        }
    }

    /// The driver broke a ring: nothing moves until it resets the device. Host processes are told by the
    /// end of their streams.
    private func breakDown() {
        broken = true
        loop.remove(listener)
        for handshake in handshakes.values { end(handshake) }
        for connection in connections.values { close(connection) }
    }

    // MARK: After each batch

    private func finishBatch() {
        metrics.wakeups.add()
        guard !broken else { return }
        do {
            if announcement == .none { try serveLine() }
            resumeListening()
            let received = try receive.queue.takeSignal()
            let transmitted = try transmit.takeSignal()
            if received || transmitted { interrupt.signalQueue() }
        } catch {
            breakDown()
            interrupt.signalBroken()
        }
    }

    /// Sends what is due as far as the guest offers buffers. On return either nothing is due, or the driver's
    /// next buffer, or the signal given here, brings the thread back.
    private func serveLine() throws(QueueError) {
        var turns = Self.batchLimit
        repeat {
            try receive.queue.disableNotifications()
            while let header = resets.first {
                guard try receive.send(header) else { break }
                resets.removeFirst(1)
            }
            var hasBuffers = resets.isEmpty
            while hasBuffers, turns > 0, let connection = line.first {
                if !connection.isDetached {
                    turns -= 1
                    hasBuffers = try connection.takeTurn(receive)
                    // Without a buffer it was no turn: the next is still this one's.
                    guard hasBuffers else { break }
                }
                line.removeFirst(1)
                connection.isQueued = false
                settle(connection)
            }
            if hasBuffers {
                if !line.isEmpty { receive.queue.notification.signal() }
                return
            }
            metrics.stalls.add()
            // Their sockets stay readable meanwhile and must not keep the loop awake.
            for connection in line.contents { updateInterest(connection) }
        } while try receive.queue.enableNotifications()
    }

    /// Puts a connection where it belongs after something happened to it.
    func settle(_ connection: VsockConnection) {
        guard !connection.isDetached else { return }
        if connection.isClosing {
            setDeadline(connection, limits.closingNanoseconds)
        } else if connection.isBlocked {
            setDeadline(connection, Self.sweepNanoseconds)
        } else if connection.phase == .established {
            connection.deadline = nil
        }
        if connection.wantsToSend {
            // Its turn comes before the loop sleeps: two system calls saved by not changing the interest now.
            enqueue(connection)
        } else {
            updateInterest(connection)
        }
    }

    private func enqueue(_ connection: VsockConnection) {
        guard !connection.isQueued else { return }
        connection.isQueued = true
        line.append(connection)
    }

    /// Owes the guest a reset.
    func oweReset(_ header: VsockHeader) {
        guard resets.count < Self.resetLimit else { return metrics.dropped.add() }
        resets.append(header)
    }

    // MARK: Deadlines

    func setDeadline(_ connection: VsockConnection, _ nanoseconds: UInt64) {
        if connection.deadline == nil { connection.deadline = monotonicNanoseconds() &+ nanoseconds }
        scheduleSweep()
    }

    /// One timer for all deadlines, and none while there are none.
    func scheduleSweep() {
        guard !sweeping else { return }
        sweeping = true
        loop.schedule(afterNanoseconds: min(Self.sweepNanoseconds, limits.handshakeNanoseconds, limits.closingNanoseconds)) { [unowned self] in
            sweeping = false
            sweep(monotonicNanoseconds())
        }
    }

    private func sweep(_ now: UInt64) {
        if listening == .failing { listening = .full }
        for handshake in handshakes.values.filter({ $0.deadline <= now }) { end(handshake) }
        for connection in connections.values.filter({ $0.deadline ?? .max <= now }) {
            connection.deadline = nil
            if connection.phase == .requested {
                metrics.refused.add()
                reset(connection)
            } else if connection.isClosing {
                reset(connection)
            } else {
                // The guest made room and did not say so.
                connection.owed.insert(.creditRequest)
                settle(connection)
            }
        }
        if !handshakes.isEmpty || connections.values.contains(where: { $0.deadline != nil }) { scheduleSweep() }
    }

    // MARK: Transport reset

    private func announce(_ event: Queue) throws(QueueError) {
        switch announcement {
        case .none: return
        case .due:
            guard try event.pop(into: &announcementChain) else { break }
            let head = announcementChain.head
            do { try announcementChain.writable.write(Self.transportReset) } catch { throw .memory(error) }
            // Keep the other buffers: the next one offered must be the one that comes back.
            var held: UInt16 = 1
            while held < event.configuration.size, try event.pop(into: &announcementChain) { held += 1 }
            announcement = .sent
            try event.push(head, written: 4)
            try event.signalIfNeeded()
        case .sent:
            if try event.pop(into: &announcementChain) { announcement = .none }
        }
        guard announcement != .none, try event.enableNotifications() else { return }
        try announce(event)
    }
}
