import AgentAPI
import Glibc
import Linux

/// Answers on an address of the guest's loopback where a name server of the host's has the same one, which the guest's network does not
/// reach: each question is put to the host, as it came, by a connection of its own.
final class NameServer {
    private static let port: UInt16 = 53
    private static let patience: UInt64 = 15_000_000_000
    /// More at once are dropped: whoever asks asks again.
    private static let maximumQuestions = 256

    private let loop: EventLoop
    private let datagrams: Descriptor
    private var server: MessageServer?
    private var exchanges: [ObjectIdentifier: MessageExchange] = [:]

    /// - Parameter pid: of a process in the network namespace the address is of; nil: this process's.
    init(at address: IPAddress, inNamespaceOf pid: Int32? = nil, on loop: EventLoop) throws {
        self.loop = loop
        let listener: Descriptor
        (datagrams, listener) = try inNetworkNamespace(of: pid) {
            (try Descriptor.internetSocket(.udp, at: address, port: Self.port), try Descriptor.internetSocket(.tcp, at: address, port: Self.port))
        }
        server = try MessageServer(listener, patience: Self.patience, on: loop) { [weak self] question, answer in
            self?.ask(question, AgentAddress.nameServerStreamPort, answer)
        }
        try loop.add(datagrams, .readable) { [weak self] _ in self?.takeDatagram() }
    }

    deinit { loop.remove(datagrams) }

    private func takeDatagram() {
        guard let (question, sender) = try? datagrams.receiveDatagram(limit: PrefixedMessage.limit) else { return }
        ask(question, AgentAddress.nameServerDatagramPort) { [datagrams] answer in
            if let answer { try? datagrams.sendDatagram(answer, to: sender) }
        }
    }

    private func ask(_ question: [UInt8], _ port: UInt32, _ answer: @escaping ([UInt8]?) -> Void) {
        guard exchanges.count < Self.maximumQuestions else { return answer(nil) }
        do {
            var key: ObjectIdentifier?
            let exchange = try MessageExchange(
                .connecting(to: .vsock(cid: SocketAddress.hostCID, port: port)), .prefixed, asking: question, atMost: Self.patience, on: loop
            ) { [weak self] message in
                if let key { self?.exchanges[key] = nil }
                answer(message)
            }
            key = ObjectIdentifier(exchange)
            exchanges[ObjectIdentifier(exchange)] = exchange
        } catch {
            answer(nil)
        }
    }
}
