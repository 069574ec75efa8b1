import GuestMemory
import Linux

/// Packets from the guest.
extension VsockHandler {
    func takePackets() throws(QueueError) {
        var left = Self.batchLimit
        repeat {
            try transmit.disableNotifications()
            while left > 0, try transmit.pop(into: &chain) {
                left -= 1
                takePacket(&chain.readable)
                try transmit.push(chain.head, written: 0)
            }
            if left == 0 { return transmit.notification.signal() }
        } while try transmit.enableNotifications()
    }

    private func takePacket(_ payload: inout GuestBuffer) {
        metrics.packetsFromGuest.add()
        guard let header = try? VsockHeader(from: &payload), header.sourceCID == guestCID else { return metrics.dropped.add() }
        guard header.type == VsockHeader.stream, header.destinationCID == UInt64(SocketAddress.hostCID) else { return answerStranger(header) }
        let key = VsockConnection.Key(guestPort: header.sourcePort, hostPort: header.destinationPort)
        guard let connection = connections[key] else {
            return header.operation == VsockHeader.Operation.request ? connect(key, header) : answerStranger(header)
        }
        connection.takeCredit(header)
        switch (header.operation, connection.phase) {
        case (VsockHeader.Operation.reset, let phase):
            if phase == .requested { metrics.refused.add() }
            close(connection)
        case (VsockHeader.Operation.response, .requested): confirm(connection)
        case (VsockHeader.Operation.readWrite, .established): deliver(&payload, Int(header.length), to: connection)
        case (VsockHeader.Operation.shutdown, .established): shutDown(connection, VsockShutdown(rawValue: header.flags))
        case (VsockHeader.Operation.creditUpdate, .established): break
        case (VsockHeader.Operation.creditRequest, .established): connection.owed.insert(.creditUpdate)
        default: violate(connection)
        }
        settle(connection)
    }

    /// A packet of no connection is answered by a reset, but never a reset by a reset.
    private func answerStranger(_ header: VsockHeader) {
        if header.operation == VsockHeader.Operation.reset { return metrics.dropped.add() }
        oweReset(header.resetReply)
    }

    /// The guest connects to a host port.
    private func connect(_ key: VsockConnection.Key, _ header: VsockHeader) {
        guard hasRoom, let socket = try? Descriptor.connected(to: .unix("\(path)_\(key.hostPort)"), nonBlocking: true) else {
            metrics.refused.add()
            return oweReset(header.resetReply)
        }
        let connection = VsockConnection(key, guestCID: guestCID, socket, .established, window: window)
        connection.takeCredit(header)
        connection.owed = .response
        add(connection)
    }

    private func deliver(_ payload: inout GuestBuffer, _ count: Int, to connection: VsockConnection) {
        guard count <= payload.remaining, !connection.guestShutdown.contains(.send), connection.mayReceive(count),
            let delivery = try? connection.receive(&payload, count: count)
        else { return violate(connection) }
        metrics.bytesFromGuest.add(count)
        if delivery == .refused { connection.refuse() }
        if connection.creditIsStale { connection.owed.insert(.creditUpdate) }
    }

    private func shutDown(_ connection: VsockConnection, _ flags: VsockShutdown) {
        connection.shutDownByGuest(flags)
        guard connection.guestShutdown.isSuperset(of: .both) else { return connection.endOutputIfDrained() }
        reset(connection)
    }

    private func violate(_ connection: VsockConnection) {
        metrics.violations.add()
        reset(connection)
    }
}
