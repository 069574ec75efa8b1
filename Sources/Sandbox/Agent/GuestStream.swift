import AgentAPI
import Linux

/// Connections from the host into the guest, through the Unix socket the VMM serves.
enum GuestStream {
    /// `OK ` and a port number; the VMM is trusted to stop there, not to be quick.
    private static let answerLimit = 32
    private static let deadline: UInt64 = 30_000_000_000

    /// Connections that carry standard streams: the guest knows each by its id. Dialled together, for the guest's part takes its time.
    static func open(ids: [UInt64], vsock: String) throws -> [Descriptor] {
        let sockets = try ids.map { _ in try Descriptor.connected(to: .unix(vsock)) }
        for socket in sockets { try socket.writeAll("CONNECT \(AgentAddress.streamPort)\n") }
        for (socket, id) in zip(sockets, ids) {
            try awaitAnswer(socket)
            try socket.writeAll((0..<8).map { UInt8(truncatingIfNeeded: id >> (8 * $0)) })
        }
        return sockets
    }

    /// `CONNECT <port>\n` is answered by `OK <host port>\n`.
    private static func awaitAnswer(_ socket: Descriptor) throws {
        var answer: [UInt8] = []
        let end = monotonicNanoseconds() + deadline
        while answer.last != UInt8(ascii: "\n") {
            let now = monotonicNanoseconds()
            guard now < end, try socket.waitReadable(atMost: end - now) else {
                throw SandboxError(.timedOut, "the guest did not take a stream in \(deadline / 1_000_000_000) s")
            }
            // Byte by byte: what follows belongs to the stream.
            let byte = try socket.read(upTo: 1)
            guard !byte.isEmpty, answer.count < answerLimit else { throw SandboxError(.agentLost, "the guest refused a stream") }
            answer += byte
        }
        guard answer.starts(with: Array("OK ".utf8)) else { throw SandboxError(.agentLost, "the guest refused a stream") }
    }

    /// An id nothing else uses: streams of several commands meet in one guest.
    static func freshID() throws(SystemError) -> UInt64 {
        let id = try randomBytes(8).reduce(0) { $0 << 8 | UInt64($1) }
        return max(id, 1)
    }
}
