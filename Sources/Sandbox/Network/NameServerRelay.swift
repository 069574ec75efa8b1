import AgentAPI
import Glibc
import Linux
import OCI

/// Puts the guest's questions to a name server at an address of the loopback of the container's network namespace on this host. docker has
/// one there, at 127.0.0.11; the guest has a loopback of its own.
final class NameServerRelay {
    private static let port: UInt16 = 53
    private static let patience: UInt64 = 10_000_000_000

    private let address: IPAddress
    private let network: SandboxNetwork
    private let loop: EventLoop
    private var servers: [MessageServer] = []
    private var exchanges: [ObjectIdentifier: MessageExchange] = [:]

    /// - Parameter listeners: what the guest's connections to the agent's two ports arrive at.
    init(_ address: IPAddress, _ network: SandboxNetwork, datagrams: Descriptor, streams: Descriptor, on loop: EventLoop) throws(SystemError) {
        self.address = address
        self.network = network
        self.loop = loop
        for (listener, kind, form) in [(datagrams, Descriptor.InternetProtocol.udp, MessageExchange.Form.datagrams), (streams, .tcp, .prefixed)] {
            servers.append(
                try MessageServer(listener, patience: Self.patience, on: loop) { [weak self] question, answer in
                    self?.ask(question, kind, form, answer)
                })
        }
    }

    private func ask(_ question: [UInt8], _ kind: Descriptor.InternetProtocol, _ form: MessageExchange.Form, _ answer: @escaping ([UInt8]?) -> Void) {
        do {
            var key: ObjectIdentifier?
            let socket = try network.socket(kind, to: address, port: Self.port)
            let exchange = try MessageExchange(socket, form, asking: question, atMost: Self.patience, on: loop) { [weak self] message in
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

extension NameServerRelay {
    /// The first name server that the container will find in its `/etc/resolv.conf`, if it is on its loopback.
    static func wanted(by spec: Spec, rootfs: String) -> IPAddress? {
        let mounted = spec.mounts.last { $0.destination == "/etc/resolv.conf" && $0.isBind }?.source
        // The root file system is an image's.
        let file = try? mounted.map { try Descriptor.open($0, O_RDONLY | O_NONBLOCK) }
            ?? Descriptor.open(rootfs, O_RDONLY | O_DIRECTORY).openInRoot("etc/resolv.conf", O_RDONLY | O_NONBLOCK)
        guard let text = try? file?.readToEnd(limit: 1 << 16) else { return nil }
        return loopbackServer(String(decoding: text, as: UTF8.self))
    }

    static func loopbackServer(_ configuration: String) -> IPAddress? {
        for line in configuration.split(whereSeparator: \.isNewline) {
            let words = line.split(whereSeparator: \.isWhitespace)
            guard words.count > 1, words[0] == "nameserver" else { continue }
            let bytes = words[1].split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
            guard bytes.count == 4, bytes[0] == 127, !bytes.contains(nil) else { return nil }
            return IPAddress(bytes.compactMap(\.self))
        }
        return nil
    }
}
