import Linux
import TTRPC

/// Connections for standard streams that arrived and were not asked for yet, by the id each begins with.
final class StreamTable {
    /// A connection that says nothing, or that nobody asks for, is closed after this.
    static let patience: UInt64 = 60_000_000_000
    static let maximumWaiting = 4096

    private struct Claim {
        let ids: Set<UInt64>
        let timer: EventLoop.Timer
        let complete: (Result<[UInt64: Descriptor], Status>) -> Void
    }

    private let loop: EventLoop
    private var arrived: [UInt64: Descriptor] = [:]
    private var introducing: [ObjectIdentifier: Introduction] = [:]
    private var claims: [Claim] = []

    /// A connection whose id is being read.
    private final class Introduction {
        let socket: Descriptor
        var bytes: [UInt8] = []
        init(_ socket: Descriptor) { self.socket = socket }
    }

    init(on loop: EventLoop) {
        self.loop = loop
    }

    /// Connections that wait, for tests.
    var count: Int { arrived.count + introducing.count }

    func serve(_ listener: Descriptor) throws(SystemError) {
        try listener.setNonBlocking()
        try loop.add(listener, .readable) { [weak self] _ in
            while let self, let socket = try? listener.accept(nonBlocking: true) { self.add(socket) }
        }
    }

    /// Takes a non-blocking connection of which nothing was read yet.
    func add(_ socket: Descriptor) {
        guard count < Self.maximumWaiting else { return }
        let introduction = Introduction(socket)
        let key = ObjectIdentifier(introduction)
        introducing[key] = introduction
        do {
            try loop.add(socket, .readable) { [weak self] _ in self?.readID(key) }
        } catch {
            introducing[key] = nil
            return
        }
        loop.schedule(afterNanoseconds: Self.patience) { [weak self, weak introduction] in
            guard let self, let introduction else { return }
            self.drop(introduction.socket, key)
        }
    }

    /// Hands over the connections called `ids` once all have arrived.
    func claim(_ ids: [UInt64], within nanoseconds: UInt64, _ complete: @escaping (Result<[UInt64: Descriptor], Status>) -> Void) {
        let wanted = Set(ids)
        if wanted.isEmpty { return complete(.success([:])) }
        var own: EventLoop.Timer?
        let timer = loop.schedule(afterNanoseconds: nanoseconds) { [weak self] in
            guard let self, let own, let index = self.claims.firstIndex(where: { $0.timer == own }) else { return }
            let claim = self.claims.remove(at: index)
            let missing = claim.ids.filter { self.arrived[$0] == nil }.sorted()
            claim.complete(.failure(Status(.deadlineExceeded, "no stream \(missing.map(String.init).joined(separator: ", ")) arrived")))
        }
        own = timer
        claims.append(Claim(ids: wanted, timer: timer, complete: complete))
        settle()
    }

    private func readID(_ key: ObjectIdentifier) {
        guard let introduction = introducing[key] else { return }
        do {
            // Not a byte more: the rest is the stream.
            let part = try introduction.socket.read(upTo: 8 - introduction.bytes.count)
            if part.isEmpty { return drop(introduction.socket, key) }
            introduction.bytes += part
        } catch where error.errno == .wouldBlock {
            return
        } catch {
            return drop(introduction.socket, key)
        }
        guard introduction.bytes.count == 8 else { return }
        drop(introduction.socket, key)
        let id = introduction.bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard id != 0, arrived[id] == nil else { return }
        let socket = introduction.socket
        arrived[id] = socket
        loop.schedule(afterNanoseconds: Self.patience) { [weak self, weak socket] in
            guard let self, let socket, self.arrived[id] === socket else { return }
            self.arrived[id] = nil
        }
        settle()
    }

    private func drop(_ socket: Descriptor, _ key: ObjectIdentifier) {
        if introducing.removeValue(forKey: key) != nil { loop.remove(socket) }
    }

    private func settle() {
        while let index = claims.firstIndex(where: { $0.ids.allSatisfy { arrived[$0] != nil } }) {
            let claim = claims.remove(at: index)
            loop.cancel(claim.timer)
            var sockets: [UInt64: Descriptor] = [:]
            for id in claim.ids { sockets[id] = arrived.removeValue(forKey: id) }
            claim.complete(.success(sockets))
        }
    }
}
