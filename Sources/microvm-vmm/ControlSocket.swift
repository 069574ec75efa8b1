import FUSE
import GuestMemory
import Linux
import Machine

/// The host's control socket (SOCK_SEQPACKET, a text message a packet) and the thread that answers it.
///
/// Requests are `share NAME ro|rw [auto|always [mapped]]` with a descriptor beside it, `unshare NAME`, `snapshot` with a
/// directory's descriptor beside it, and perhaps that of a snapshot to save only the difference to, `network ADDRESS MTU` with a
/// tap's (answered by the number of the device on the bus), `plugged`, which waits until the guest has all its memory, `written`
/// and `touched` (answered by `FIRST+COUNT` words, pages of the snapshot's memory file), `pause`, `resume`, `stop` and `metrics`. Each is answered
/// in order by `ok[ TEXT]` or `error TEXT`. Events go out unasked. When the host's end closes, the machine ends.
final class ControlSocket: Sendable {
    /// What a request acts on.
    struct Actions: Sendable {
        var share: @Sendable (_ name: String, _ root: Descriptor, _ mode: ShareMode) throws -> Void
        var connect: @Sendable (_ tap: Descriptor, _ address: MACAddress, _ mtu: UInt16) throws -> Int
        var unshare: @Sendable (_ name: String) throws -> Void
        var waitForMemory: @Sendable () -> Bool
        var written: @Sendable () throws -> [PageRun]
        var touched: @Sendable () throws -> [PageRun]
        var pause: @Sendable () -> Void
        var resume: @Sendable () -> Void
        var stop: @Sendable () -> Void
        var snapshot: @Sendable (_ directory: Descriptor, _ base: Descriptor?) throws -> Void
        var metrics: @Sendable () -> String
    }

    enum Event: CustomStringConvertible {
        /// Right before the guest's first instruction.
        case started(StartTimes)
        case ended(EndReason)

        var description: String {
            switch self {
            case .started(let times): "event started \(times.started) \(times.began) \(times.jailed) \(times.loaded)"
            case .ended(let reason): "event ended \(reason)"
            }
        }
    }

    /// When what came before the guest's first instruction was done, nanoseconds of CLOCK_MONOTONIC.
    struct StartTimes {
        /// This program's first instruction, nearly.
        var began: UInt64 = 0
        /// Options read, KVM opened, the jail entered.
        var jailed: UInt64 = 0
        /// The machine made: a kernel or a snapshot loaded.
        var loaded: UInt64 = 0
        /// All threads made.
        var started: UInt64 = 0
    }

    struct RequestError: Error, CustomStringConvertible {
        let description: String
    }

    static let threadName = "control"
    private static let requestLimit = 4096
    private static let stopRequest = Array("stop".utf8)

    private let socket: Descriptor
    private let begin: EventDescriptor

    /// Starts the thread; it answers nothing before ``open()``.
    init(_ socket: Descriptor, _ actions: Actions) throws(SystemError) {
        self.socket = socket
        let begin = try EventDescriptor(nonBlocking: false)
        self.begin = begin
        _ = try Thread(Self.threadName) {
            begin.drain()
            Self.serve(socket, actions)
        }
    }

    /// The machine runs: requests are answered from now on.
    func open() { begin.signal() }

    /// Tells the host. A host that is gone, or lets its socket fill up, misses it.
    func send(_ event: Event) {
        try? socket.send(Array(event.description.utf8))
    }

    private static func serve(_ socket: Descriptor, _ actions: Actions) {
        while let message = try? socket.receive(limit: requestLimit), !message.bytes.isEmpty {
            guard (try? socket.send(Array(answer(message, actions).utf8))) != nil else { break }
            // After its answer: the process ends with the machine.
            if message.bytes == stopRequest { actions.stop() }
        }
        actions.stop()
    }

    private static func answer(_ message: (bytes: [UInt8], descriptors: [Descriptor]), _ actions: Actions) -> String {
        do {
            let text = try perform(String(decoding: message.bytes, as: UTF8.self), message.descriptors, actions)
            return text.isEmpty ? "ok" : "ok \(text)"
        } catch {
            return "error \(error)"
        }
    }

    private static func text(_ pages: [PageRun]) -> String { pages.map { "\($0.first)+\($0.count)" }.joined(separator: " ") }

    private static func perform(_ request: String, _ descriptors: [Descriptor], _ actions: Actions) throws -> String {
        let words = request.split(separator: " ").map(String.init)
        switch (words.first, words.count) {
        case ("share", 3...5):
            guard let mode = ShareMode(words[2...]) else { throw RequestError(description: "share: \(ShareMode.usage)") }
            guard descriptors.count == 1 else { throw RequestError(description: "share: one descriptor is needed") }
            try actions.share(words[1], descriptors[0], mode)
        case ("network", 3):
            guard let address = MACAddress(words[1]), let mtu = UInt16(words[2]), descriptors.count == 1 else {
                throw RequestError(description: "network: an Ethernet address, an MTU and one descriptor are needed")
            }
            return "\(try actions.connect(descriptors[0], address, mtu))"
        case ("unshare", 2): try actions.unshare(words[1])
        case ("plugged", 1):
            guard actions.waitForMemory() else { throw RequestError(description: "the guest does not plug in its memory") }
        case ("written", 1): return text(try actions.written())
        case ("touched", 1): return text(try actions.touched())
        case ("pause", 1): actions.pause()
        case ("resume", 1): actions.resume()
        case ("stop", 1): break
        case ("snapshot", 1):
            guard (1...2).contains(descriptors.count) else { throw RequestError(description: "snapshot: one descriptor or two are needed") }
            try actions.snapshot(descriptors[0], descriptors.count == 2 ? descriptors[1] : nil)
        case ("metrics", 1): return actions.metrics()
        default: throw RequestError(description: "unknown request: \(request)")
        }
        return ""
    }
}
