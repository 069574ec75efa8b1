import Linux

/// Host processes and their Unix sockets.
extension VsockHandler {
    /// Connections accepted before the thread looks at its other duties.
    private static let acceptLimit = 16

    private var count: Int { connections.count + draining.count + handshakes.count }
    var hasRoom: Bool { count < limits.connections }
    private var mayAccept: Bool { hasRoom && handshakes.count + requested < limits.halfOpen }
    /// The receive buffer of the next connection.
    var window: UInt32 { count < limits.fewConnections ? limits.window : limits.smallWindow }

    // MARK: Handshakes

    func acceptConnections() {
        for _ in 0..<Self.acceptLimit {
            guard mayAccept else { return stopListening(.full) }
            do {
                let socket = try listener.accept(nonBlocking: true)
                try begin(VsockHandshake(socket, deadline: monotonicNanoseconds() &+ limits.handshakeNanoseconds))
            } catch {
                if error.errno != .wouldBlock { stopListening(.failing) }
                return
            }
        }
    }

    private func stopListening(_ reason: Listening) {
        listening = reason
        try? loop.modify(listener, [])
        if reason == .failing { scheduleSweep() }
    }

    func resumeListening() {
        guard listening == .full, mayAccept else { return }
        listening = .on
        try? loop.modify(listener, .readable)
    }

    private func begin(_ handshake: VsockHandshake) throws(SystemError) {
        try loop.add(handshake.socket, .readable) { [unowned self, unowned handshake] _ in advance(handshake) }
        handshakes[handshake.socket.raw] = handshake
        advance(handshake)
        scheduleSweep()
    }

    private func advance(_ handshake: VsockHandshake) {
        switch handshake.advance() {
        case .waiting: break
        case .failed: end(handshake)
        case .port(let port):
            end(handshake)
            request(port, handshake.socket)
        }
    }

    func end(_ handshake: VsockHandshake) {
        loop.remove(handshake.socket)
        handshakes[handshake.socket.raw] = nil
    }

    /// Asks the guest for a connection to `port`.
    private func request(_ port: UInt32, _ socket: Descriptor) {
        guard let key = makeKey(guestPort: port) else { return metrics.refused.add() }
        let connection = VsockConnection(key, guestCID: guestCID, socket, .requested, window: window)
        connection.owed = .request
        requested += 1
        setDeadline(connection, limits.handshakeNanoseconds)
        add(connection)
    }

    private func makeKey(guestPort: UInt32) -> VsockConnection.Key? {
        // One more than there are connections: one of them is free.
        for _ in 0...connections.count {
            let key = VsockConnection.Key(guestPort: guestPort, hostPort: hostPorts.take())
            if connections[key] == nil { return key }
        }
        return nil
    }

    /// The guest accepted: tell the host process under which port.
    func confirm(_ connection: VsockConnection) {
        let answer = Array("OK \(connection.key.hostPort)\n".utf8)
        guard (try? connection.socket.write(answer)) == answer.count else { return reset(connection) }
        requested -= 1
        connection.phase = .established
        connection.deadline = nil
        metrics.connections.add()
    }

    // MARK: Sockets

    /// Puts a new connection into the table and waits for its socket.
    func add(_ connection: VsockConnection) {
        let interest = connection.interest
        do {
            try loop.add(connection.socket, interest) { [unowned self, unowned connection] ready in socketIsReady(connection, ready) }
        } catch {
            if connection.phase == .requested { requested -= 1 }
            metrics.refused.add()
            return
        }
        connection.registered = interest
        connections[connection.key] = connection
        if connection.phase == .established { metrics.connections.add() }
        settle(connection)
    }

    private func socketIsReady(_ connection: VsockConnection, _ ready: EventLoop.Interest) {
        if connection.hasPending, !ready.isDisjoint(with: [.writable, .hangup, .error]) { flush(connection) }
        guard !connection.isDetached else { return }
        if !ready.isDisjoint(with: [.hangup, .error]) {
            // Level-triggered, it would be reported for ever.
            unregister(connection)
            if connection.phase == .requested { return reset(connection) }
            connection.hangUp()
        }
        if ready.contains(.readable) { connection.readable = true }
        settle(connection)
    }

    private func flush(_ connection: VsockConnection) {
        switch connection.flush() {
        case .blocked: break
        case .done: connection.endOutputIfDrained()
        case .refused: connection.refuse()
        }
        if connection.creditIsStale { connection.owed.insert(.creditUpdate) }
        if connection.isDetached {
            if connection.hasPending { updateInterest(connection) } else { forget(connection) }
        }
    }

    func updateInterest(_ connection: VsockConnection) {
        let wanted = connection.interest
        guard let registered = connection.registered, registered != wanted else { return }
        connection.registered = wanted
        try? loop.modify(connection.socket, wanted)
    }

    private func unregister(_ connection: VsockConnection) {
        loop.remove(connection.socket)
        connection.registered = nil
    }

    // MARK: Ends

    /// Ends a connection and tells the guest.
    func reset(_ connection: VsockConnection) {
        close(connection)
        oweReset(connection.header(VsockHeader.Operation.reset))
    }

    /// Ends a connection the guest knows nothing of any more. What it sent before is still passed on.
    func close(_ connection: VsockConnection) {
        guard !connection.isDetached else { return }
        if connection.phase == .requested { requested -= 1 }
        connections[connection.key] = nil
        connection.detach()
        if connection.hasPending, connection.registered != nil {
            draining[connection.socket.raw] = connection
            updateInterest(connection)
        } else {
            unregister(connection)
        }
    }

    private func forget(_ connection: VsockConnection) {
        unregister(connection)
        draining[connection.socket.raw] = nil
    }
}
