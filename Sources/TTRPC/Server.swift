public import Linux

/// Serves a method table on connections that somebody else accepted or dialled.
public final class Server {
    private let methods: MethodTable
    private let loop: EventLoop
    private var connections: [ObjectIdentifier: (channel: Channel, core: ServerCore)] = [:]

    public init(_ methods: MethodTable, on loop: EventLoop) {
        self.methods = methods
        self.loop = loop
    }

    /// Connections being served.
    public var connectionCount: Int { connections.count }

    /// Serves `socket` until it ends, then calls `onClose`. Replies still owed are dropped then.
    public func serve(_ socket: Descriptor, onClose: @escaping () -> Void = {}) throws(SystemError) {
        let channel = try Channel(socket, on: loop)
        let core = ServerCore(methods) { [weak channel] in channel?.send($0) }
        let key = ObjectIdentifier(channel)
        connections[key] = (channel, core)
        channel.onBytes = { [weak core] in core?.receive($0) }
        channel.onClose = { [weak self] _ in
            self?.connections[key] = nil
            onClose()
        }
    }
}
