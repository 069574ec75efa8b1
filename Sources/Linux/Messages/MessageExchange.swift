/// One question to a socket and its answer. Ends with the answer, with the socket, or when its time is over.
public final class MessageExchange {
    /// How the socket keeps messages apart.
    public enum Form: Sendable {
        /// A stream: each has its length before it.
        case prefixed
        case datagrams
    }

    private let socket: Descriptor
    private let loop: EventLoop
    private let form: Form
    private var toSend: ArraySlice<UInt8>
    private var received: [UInt8] = []
    private var timer: EventLoop.Timer?
    private var complete: (([UInt8]?) -> Void)?

    /// - Parameters:
    ///   - socket: may still be connecting.
    ///   - complete: called once, later; nil: there is no answer.
    public init(
        _ socket: Descriptor, _ form: Form, asking question: [UInt8], atMost nanoseconds: UInt64, on loop: EventLoop, _ complete: @escaping ([UInt8]?) -> Void
    ) throws(SystemError) {
        guard let framed = form == .prefixed ? PrefixedMessage.framed(question) : question else { throw SystemError("message", .messageTooLong) }
        self.socket = socket
        self.loop = loop
        self.form = form
        toSend = framed[...]
        self.complete = complete
        try socket.setNonBlocking()
        try loop.add(socket, .writable) { [weak self] _ in self?.advance() }
        timer = loop.schedule(afterNanoseconds: nanoseconds) { [weak self] in self?.finish(nil) }
    }

    deinit { letGo() }

    private func advance() {
        do {
            if !toSend.isEmpty {
                toSend = toSend.dropFirst(try socket.write(toSend))
                if toSend.isEmpty { try loop.modify(socket, .readable) }
                return
            }
            let part = try socket.read(upTo: PrefixedMessage.limit)
            if form == .datagrams { return finish(part) }
            if part.isEmpty { return finish(nil) }
            received += part
            if let answer = PrefixedMessage.take(from: &received) { finish(answer) }
        } catch where error.errno == .wouldBlock {
            return
        } catch {
            finish(nil)
        }
    }

    private func finish(_ answer: [UInt8]?) {
        letGo()
        let complete = complete
        self.complete = nil
        complete?(answer)
    }

    private func letGo() {
        loop.remove(socket)
        if let timer { loop.cancel(timer) }
        timer = nil
    }
}
