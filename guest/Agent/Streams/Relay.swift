import Glibc
import Linux

/// Moves bytes from one descriptor to another until either ends; then it lets go of both.
///
/// Nothing is read that the sink does not take, so a reader who never reads stalls only the writer he reads from.
final class Relay {
    /// How the bytes go: by splice(2) if one side is a pipe, else through a buffer (terminals).
    enum Way { case splice, copy }

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

    /// Begins at once. Both are made non-blocking, and must be on no loop yet.
    init(from source: Descriptor, to sink: Descriptor, _ way: Way, on loop: EventLoop, onEnd: @escaping () -> Void) throws(SystemError) {
        self.source = source
        self.sink = sink
        self.way = way
        self.loop = loop
        self.onEnd = onEnd
        try source.setNonBlocking()
        try sink.setNonBlocking()
        // By edges: what made it stop is never known for certain, and either side's change is a reason to try again.
        try loop.add(source, [.readable, .edgeTriggered]) { [weak self] _ in self?.move() }
        try loop.add(sink, [.writable, .edgeTriggered]) { [weak self] in self?.sinkChanged($0) }
    }

    deinit { letGo() }

    /// Ends it now; `onEnd` is not called.
    func stop() { letGo() }

    private func sinkChanged(_ events: EventLoop.Interest) {
        // A pipe without a reader, a connection closed in both directions.
        if !events.isDisjoint(with: [.hangup, .error]) { end() } else { move() }
    }

    private func move() {
        do {
            for _ in 0..<Self.portionsPerTurn {
                guard let source, let sink else { return }
                let count = way == .splice ? try splice(from: source, to: sink, atMost: Self.portion) : try copy(source, sink)
                if count == 0 { return end() }
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
