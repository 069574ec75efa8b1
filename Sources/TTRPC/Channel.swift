public import Linux

/// A stream socket on an event loop: bytes in by callback, bytes out through a bounded buffer.
///
/// While more than `outputLimit` bytes wait to be sent nothing is read, so a peer that asks without
/// reading its answers stalls itself.
public final class Channel {
    /// A guest pays for each page of a buffer it first touches.
    private static let readSize = 16 << 10

    private let socket: Descriptor
    private let loop: EventLoop
    private let outputLimit: Int
    private var output: [UInt8] = []
    private var interest: EventLoop.Interest = .readable
    public private(set) var isOpen = true

    /// Called with what arrived, never empty.
    public var onBytes: (([UInt8]) -> Void)?
    /// Called once when the peer is gone (nil) or the socket failed; not after ``close()``.
    public var onClose: ((SystemError?) -> Void)?

    /// Takes over a connected socket and makes it non-blocking. The process must ignore `SIGPIPE`.
    public init(_ socket: Descriptor, on loop: EventLoop, outputLimit: Int = 1 << 20) throws(SystemError) {
        self.socket = socket
        self.loop = loop
        self.outputLimit = outputLimit
        try socket.setNonBlocking()
        try loop.add(socket, interest) { [weak self] in self?.ready($0) }
    }

    deinit {
        close()
    }

    /// Sends `bytes` after all earlier ones; drops them once the channel is closed.
    public func send(_ bytes: [UInt8]) {
        guard isOpen else { return }
        output += bytes
        flush()
    }

    /// Tells the peer that nothing more comes; what it still has to say is read.
    public func finish() throws(SystemError) {
        try socket.shutdown(.writing)
    }

    /// Leaves the loop and lets go of the socket's callbacks. Unsent bytes are lost.
    public func close() {
        guard isOpen else { return }
        isOpen = false
        loop.remove(socket)
        try? socket.shutdown(.both)
        output = []
    }

    /// Leaves the loop without a word to the peer, for another process to go on with the connection; nil while something waits to be sent.
    func handOver() -> Descriptor? {
        guard isOpen, output.isEmpty else { return nil }
        isOpen = false
        loop.remove(socket)
        return socket
    }

    private func ready(_ events: EventLoop.Interest) {
        if events.contains(.writable) { flush() }
        if isOpen, !events.isDisjoint(with: [.readable, .hangup, .error]) { read() }
    }

    private func read() {
        do {
            let bytes = try socket.read(upTo: Self.readSize)
            if bytes.isEmpty { return fail(nil) }
            onBytes?(bytes)
        } catch where error.errno == .wouldBlock {
            return
        } catch {
            fail(error)
        }
    }

    private func flush() {
        do {
            while !output.isEmpty {
                output.removeFirst(try socket.write(output))
            }
        } catch where error.errno == .wouldBlock {
            // Sent when the socket is writable again.
        } catch {
            return fail(error)
        }
        updateInterest()
    }

    private func updateInterest() {
        var wanted: EventLoop.Interest = output.count > outputLimit ? [] : .readable
        if !output.isEmpty { wanted.insert(.writable) }
        guard wanted != interest else { return }
        interest = wanted
        do { try loop.modify(socket, wanted) } catch { fail(error) }
    }

    private func fail(_ error: SystemError?) {
        guard isOpen else { return }
        close()
        onClose?(error)
    }
}
