import Glibc
import Linux

/// Moves bytes from one descriptor to another until either ends; then it lets go of both.
///
/// Nothing is read that the sink does not take, so a reader who never reads stalls only the writer he reads from.
final class Relay {
    /// How the bytes go: by splice(2) if one side is a pipe, else through a buffer (terminals).
    enum Way { case splice, copy }

    /// Which side is a connection of the host's, and may be replaced.
    enum Side { case source, sink }

    private static let portion = 64 << 10
    /// Portions before others get their turn.
    private static let portionsPerTurn = 16

    private var source: Descriptor?
    private var sink: Descriptor?
    private let loop: EventLoop
    private let way: Way
    /// Read and not yet written; only with ``Way/copy``.
    private var pending: ArraySlice<UInt8> = []
    private let onEnd: () -> Void
    /// Nothing moves, and nothing that happens to either side ends it.
    private var isHeld = false
    /// Bytes the sink took since it is the sink.
    private(set) var delivered: UInt64 = 0

    /// Those, and what waits in the pipe that is the source.
    var taken: UInt64 { delivered &+ UInt64(clamping: (try? source?.readableCount()) ?? 0) }

    /// Begins at once. Both are non-blocking, and on no loop yet.
    init(from source: Descriptor, to sink: Descriptor, _ way: Way, on loop: EventLoop, onEnd: @escaping () -> Void) throws(SystemError) {
        self.source = source
        self.sink = sink
        self.way = way
        self.loop = loop
        self.onEnd = onEnd
        try watch(source: source)
        try watch(sink: sink)
    }

    // By edges: what made it stop is never known for certain, and either side's change is a reason to try again.

    private func watch(source: Descriptor) throws(SystemError) {
        try loop.add(source, [.readable, .edgeTriggered]) { [weak self] _ in self?.move() }
    }

    private func watch(sink: Descriptor) throws(SystemError) {
        try loop.add(sink, [.writable, .edgeTriggered]) { [weak self] in self?.sinkChanged($0) }
    }

    deinit { letGo() }

    /// Ends it now; `onEnd` is not called.
    func stop() { letGo() }

    // MARK: Snapshots

    func hold() { isHeld = true }

    /// Goes on; what happened meanwhile is found out by trying.
    func release() {
        guard isHeld else { return }
        isHeld = false
        move()
    }

    /// Goes on with another connection, in place of one that may be gone.
    func attach(_ connection: Descriptor, as side: Side) throws(SystemError) {
        switch side {
        case .source:
            if let source { loop.remove(source) }
            source = connection
            try watch(source: connection)
        case .sink:
            if let sink { loop.remove(sink) }
            sink = connection
            delivered = 0
            try watch(sink: connection)
        }
        release()
    }

    // MARK: Moving

    private func sinkChanged(_ events: EventLoop.Interest) {
        guard !isHeld else { return }
        // A pipe without a reader, a connection closed in both directions.
        if !events.isDisjoint(with: [.hangup, .error]) { end() } else { move() }
    }

    private func move() {
        do {
            for _ in 0..<Self.portionsPerTurn {
                guard !isHeld, let source, let sink else { return }
                let count = way == .splice ? try splice(from: source, to: sink, atMost: Self.portion) : try copy(source, sink)
                if count == 0 { return end() }
                delivered &+= UInt64(count)
            }
            loop.schedule(afterNanoseconds: 0) { [weak self] in self?.move() }
        } catch where error.errno == .wouldBlock {
            return
        } catch {
            // The reader left, or (EIO) the last process closed the terminal.
            end()
        }
    }

    private func copy(_ source: Descriptor, _ sink: Descriptor) throws(SystemError) -> Int {
        if pending.isEmpty {
            pending = try source.read(upTo: 4096)[...]
            if pending.isEmpty { return 0 }
        }
        let count = try sink.write(pending)
        pending = pending.dropFirst(count)
        return count
    }

    private func end() {
        guard source != nil else { return }
        letGo()
        onEnd()
    }

    private func letGo() {
        if let source { loop.remove(source) }
        if let sink { loop.remove(sink) }
        source = nil
        sink = nil
        pending = []
    }
}
