public import Linux
import SwiftProtobuf

/// Calls methods over one connection, each with a deadline, on an event loop's thread.
public final class Client {
    private let loop: EventLoop
    private let channel: Channel
    private let core: ClientCore
    /// Called once when the connection ends by itself: the peer left (nil), or what went wrong.
    public var onClose: ((any Error)?) -> Void = { _ in }

    /// - Parameter nextStream: of a connection that another client was on (``handOver()``).
    public init(_ socket: Descriptor, on loop: EventLoop, nextStream: UInt32 = 1) throws(SystemError) {
        let channel = try Channel(socket, on: loop)
        let core = ClientCore(nextStream: nextStream) { [weak channel] in channel?.send($0) }
        self.loop = loop
        self.channel = channel
        self.core = core
        channel.onBytes = { [weak self] in self?.receive($0) }
        channel.onClose = { [weak self] in self?.end($0) }
    }

    /// Asks; `complete` is called once, possibly before this returns when the connection is gone.
    ///
    /// - Parameter deadline: nanoseconds from now, nil: none (``Status/Code/deadlineExceeded`` after it).
    public func call<Request, Response>(
        _ method: Method<Request, Response>, _ request: Request, deadline: UInt64?,
        _ complete: @escaping (Result<Response, Status>) -> Void
    ) {
        var timer: EventLoop.Timer?
        let stream = core.call(method, request, timeout: deadline ?? 0) { [loop] in
            if let timer { loop.cancel(timer) }
            complete($0)
        }
        guard let stream, let deadline else { return }
        timer = loop.schedule(afterNanoseconds: deadline) { [weak core] in
            let status = Status(.deadlineExceeded, "\(method.name): no answer in \(deadline / 1_000_000) ms")
            core?.abandon(stream, status)
        }
    }

    /// Says that no more calls come: a server closes the connection then, and ``onClose`` is called.
    public func finish() throws(SystemError) {
        try channel.finish()
    }

    /// Gives the connection up for another client to go on with, perhaps in another process; nil while an answer is to come.
    public func handOver() -> (socket: Descriptor, nextStream: UInt32)? {
        guard core.isIdle, let socket = channel.handOver() else { return nil }
        return (socket, core.nextStream)
    }

    /// Fails what is unanswered and closes the connection; ``onClose`` is not called.
    public func close() {
        channel.close()
        core.close(Status(.cancelled, "the connection was closed"))
    }

    private func receive(_ bytes: [UInt8]) {
        do {
            try core.receive(bytes)
        } catch {
            channel.close()
            end(error)
        }
    }

    private func end(_ error: (any Error)?) {
        core.close(Status(.unavailable, error.map { "the connection ended: \($0)" } ?? "the connection ended"))
        onClose(error)
    }
}
