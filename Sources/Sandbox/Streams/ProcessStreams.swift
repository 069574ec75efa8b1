import AgentAPI
import Glibc
import Linux

/// The standard streams of one process in the guest, each a connection of its own.
final class ProcessStreams {
    /// What they are connected to on the host; nil is nothing (`/dev/null` in the guest).
    struct Host {
        var standardInput: HostStream?
        var standardOutput: HostStream?
        /// Not with a terminal, which has one output.
        var standardError: HostStream?

        /// This process's own streams.
        static func ofCaller() throws(SystemError) -> Host {
            Host(
                standardInput: try HostStream(Descriptor.standardInput, access: O_RDONLY),
                standardOutput: try HostStream(Descriptor.standardOutput, access: O_WRONLY),
                standardError: try HostStream(Descriptor.standardError, access: O_WRONLY))
        }
    }

    /// How long a guest may take to end its output streams once the process has ended.
    private static let drainDeadline: UInt64 = 10_000_000_000

    private let loop: EventLoop
    private let host: Host
    private var pumps: [Pump] = []
    private var outputs: [Pump] = []
    private var openOutputs = 0

    /// Called at the first byte of output.
    var onFirstOutput: (() -> Void)?

    init(_ host: Host, on loop: EventLoop) {
        self.host = host
        self.loop = loop
    }

    /// Whether everything the process wrote has been delivered.
    var isDrained: Bool { openOutputs == 0 }
    /// Grows as output is delivered.
    var delivered: UInt64 { outputs.reduce(0) { $0 &+ $1.delivered } }
    /// Whether output has come that the host's reader has not taken.
    var waitsForReader: Bool { outputs.contains { $0.end == nil && $0.pending > 0 } }

    /// Dials the guest and begins to carry bytes.
    ///
    /// - Returns: what the agent is to be told.
    func open(vsock: String) throws -> Streams {
        var streams = Streams()
        let inputs = host.standardInput != nil ? 1 : 0
        let sinks = [host.standardOutput, host.standardError].compactMap(\.self)
        let ids = try (0..<(inputs + sinks.count)).map { _ in try GuestStream.freshID() }
        let sockets = try GuestStream.open(ids: ids, vsock: vsock)
        var next = ids.startIndex
        if let source = host.standardInput {
            streams.stdin = ids[next]
            try carryInput(source, to: sockets[next])
            next += 1
        }
        if let sink = host.standardOutput {
            streams.stdout = ids[next]
            try carryOutput(sockets[next], to: sink)
            next += 1
        }
        if let sink = host.standardError {
            streams.stderr = ids[next]
            try carryOutput(sockets[next], to: sink)
        }
        return streams
    }

    private func carryInput(_ source: HostStream, to socket: Descriptor) throws {
        let pump = Pump(from: source, to: try HostStream(own: socket), on: loop)
        pump.onEnd = { _ in
            // The end of the file, for the guest.
            try? socket.shutdown(.writing)
        }
        pumps.append(pump)
        pump.start()
    }

    private func carryOutput(_ socket: Descriptor, to sink: HostStream) throws {
        let pump = Pump(from: try HostStream(own: socket), to: sink, on: loop)
        openOutputs += 1
        pump.onFirstByte = { [weak self] in
            self?.onFirstOutput?()
            self?.onFirstOutput = nil
        }
        pump.onEnd = { [weak self] _ in
            // With a reader gone the guest's program gets SIGPIPE, as it would have here.
            try? socket.shutdown(.both)
            self?.outputEnded()
        }
        pumps.append(pump)
        outputs.append(pump)
        pump.start()
    }

    private func outputEnded() {
        openOutputs -= 1
    }

    /// Waits until all output is delivered. A reader that takes its time is waited for, a guest that does not end its streams is not.
    ///
    /// - Parameter isAbandoned: whether nobody wants the rest any more.
    func drain(_ waiter: Waiter, unless isAbandoned: () -> Bool = { false }) throws {
        while !isDrained, !isAbandoned() {
            let before = delivered
            do {
                try waiter.wait("the last output", atMost: Self.drainDeadline) { isDrained || isAbandoned() }
            } catch let error as SandboxError where error.kind == .timedOut {
                guard waitsForReader || delivered != before else { return }
            }
        }
    }

    func stop() {
        for pump in pumps { pump.stop() }
        pumps = []
        outputs = []
        openOutputs = 0
    }
}
