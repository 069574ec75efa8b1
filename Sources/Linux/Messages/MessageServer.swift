/// Answers messages on stream connections, each with its length before it; on one connection one after the other.
public final class MessageServer {
    /// Answers a question, now or later; nil ends the connection.
    public typealias Handler = (_ question: [UInt8], _ answer: @escaping ([UInt8]?) -> Void) -> Void

    /// More at once are turned away.
    private static let maximumConnections = 64

    private let listener: Descriptor
    private let loop: EventLoop
    private let patience: UInt64
    private let handler: Handler
    private var connections: [ObjectIdentifier: Connection] = [:]

    /// - Parameter patience: nanoseconds a connection may be idle.
    public init(_ listener: Descriptor, patience: UInt64, on loop: EventLoop, _ handler: @escaping Handler) throws(SystemError) {
        self.listener = listener
        self.loop = loop
        self.patience = patience
        self.handler = handler
        try listener.setNonBlocking()
        try loop.add(listener, .readable) { [weak self] _ in self?.accept() }
    }

    deinit {
        loop.remove(listener)
        for connection in connections.values { connection.close() }
    }

    private func accept() {
        guard let socket = try? listener.accept(), connections.count < Self.maximumConnections else { return }
        guard let connection = try? Connection(socket, patience, on: loop, handler) else { return }
        let key = ObjectIdentifier(connection)
        connections[key] = connection
        connection.onEnd = { [weak self] in self?.connections[key] = nil }
    }

    private final class Connection {
        private let socket: Descriptor
        private let loop: EventLoop
        private let handler: Handler
        private let patience: UInt64
        private var received: [UInt8] = []
        private var toSend: ArraySlice<UInt8> = []
        /// A question is being answered.
        private var isBusy = false
        private var timer: EventLoop.Timer?
        var onEnd: (() -> Void)?

        init(_ socket: Descriptor, _ patience: UInt64, on loop: EventLoop, _ handler: @escaping Handler) throws(SystemError) {
            self.socket = socket
            self.loop = loop
            self.handler = handler
            self.patience = patience
            try socket.setNonBlocking()
            try loop.add(socket, .readable) { [weak self] _ in self?.ready() }
            restartTimer()
        }

        func close() {
            loop.remove(socket)
            if let timer { loop.cancel(timer) }
            timer = nil
            onEnd?()
            onEnd = nil
        }

        private func restartTimer() {
            if let timer { loop.cancel(timer) }
            timer = loop.schedule(afterNanoseconds: patience) { [weak self] in self?.close() }
        }

        private func ready() {
            do {
                if !toSend.isEmpty {
                    toSend = toSend.dropFirst(try socket.write(toSend))
                    guard toSend.isEmpty else { return }
                    isBusy = false
                    restartTimer()
                    try loop.modify(socket, .readable)
                    return next()
                }
                guard !isBusy else { return close() }
                let part = try socket.read(upTo: PrefixedMessage.limit)
                if part.isEmpty { return close() }
                received += part
                next()
            } catch where error.errno == .wouldBlock {
                return
            } catch {
                close()
            }
        }

        private func next() {
            guard let question = PrefixedMessage.take(from: &received) else { return }
            isBusy = true
            // Silent but for the other side's going away.
            try? loop.modify(socket, [])
            handler(question) { [weak self] in self?.answer($0) }
        }

        private func answer(_ message: [UInt8]?) {
            guard isBusy, let message, let framed = PrefixedMessage.framed(message) else { return close() }
            toSend = framed[...]
            do throws(SystemError) { try loop.modify(socket, .writable) } catch { close() }
        }
    }
}
