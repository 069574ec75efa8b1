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
        /// Further ones.
        var passed: [PassedDescriptor] = []

        /// This process's own streams.
        ///
        /// - Parameters:
        ///   - forGood: this process has no use for them itself, so that each closes as soon as the container closes it.
        ///   - unlessNull: of these, by number, each is nothing if it is `/dev/null`: the guest has its own, and a connection
        ///     costs it 30 ms where KVM interprets its kernel. Not a container's output: who goes on from a snapshot may want it.
        static func ofCaller(forGood: Bool, unlessNull: Set<Int32> = []) throws(SystemError) -> Host {
            func stream(_ own: Descriptor, _ access: Int32) throws(SystemError) -> HostStream? {
                if unlessNull.contains(own.raw), own.isNullDevice { return nil }
                guard forGood else { return try HostStream(own, access: access) }
                let stream = try HostStream(own.duplicate(), access: access)
                try own.replace(with: Descriptor.open("/dev/null", O_RDWR))
                return stream
            }
            return Host(
                standardInput: try stream(.standardInput, O_RDONLY), standardOutput: try stream(.standardOutput, O_WRONLY),
                standardError: try stream(.standardError, O_WRONLY))
        }
    }

    /// How long a guest may be silent before it has given output that it has announced.
    private static let patience: UInt64 = 60_000_000_000
    /// How long it may be silent before a terminal's output has ended: something left behind may hold the terminal.
    private static let terminalPatience: UInt64 = 10_000_000_000

    private let loop: EventLoop
    /// Until they are carried.
    private var host: Host
    /// Their other ends in the guest, until the process's end: bytes may be under way in those that have ended here.
    private var sockets: [Descriptor] = []
    private var pumps: [Pump] = []
    /// The standard output as 0, the standard error as 1.
    private var outputs: [Int: Pump] = [:]
    private var passedOutputs: [Pump] = []
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
    var delivered: UInt64 { (outputs.values + passedOutputs).reduce(0) { $0 &+ $1.delivered } }
    /// Whether this much of the standard output and error has reached its reader, or never will.
    func hasDelivered(_ counts: [UInt64]) -> Bool {
        counts.enumerated().allSatisfy { index, count in outputs[index].map { $0.end != nil || $0.delivered >= count } ?? true }
    }
    /// Whether output has come that the host's reader has not taken.
    var waitsForReader: Bool { (outputs.values + passedOutputs).contains { $0.end == nil && $0.pending > 0 } }

    /// Dials the guest and begins to carry bytes.
    ///
    /// - Returns: what the agent is to be told.
    func open(vsock: String) throws -> Streams {
        var streams = Streams()
        let inputs = host.standardInput != nil ? 1 : 0
        let sinks = [host.standardOutput, host.standardError].compactMap(\.self)
        let passed = host.passed.count { $0.isCarried }
        let ids = try (0..<(inputs + sinks.count + passed)).map { _ in try GuestStream.freshID() }
        sockets = try GuestStream.open(ids: ids, vsock: vsock)
        defer { host = Host() }
        var next = ids.startIndex
        if let source = host.standardInput {
            streams.stdin = ids[next]
            try carryInput(source, to: sockets[next])
            next += 1
        }
        if let sink = host.standardOutput {
            streams.stdout = ids[next]
            try carryOutput(0, sockets[next], to: sink)
            next += 1
        }
        if let sink = host.standardError {
            streams.stderr = ids[next]
            try carryOutput(1, sockets[next], to: sink)
            next += 1
        }
        for passed in host.passed {
            streams.passed.append(passed.message(passed.isCarried ? ids[next] : 0))
            guard passed.isCarried else { continue }
            try carry(passed, sockets[next])
            next += 1
        }
        return streams
    }

    private func carry(_ passed: PassedDescriptor, _ socket: Descriptor) throws {
        if passed.kind != .writing { try carryInput(HostStream(passed.descriptor, access: O_RDONLY), to: socket) }
        if passed.kind == .reading { return }
        // One registration a descriptor: the two ways of a connection have one each.
        let (source, sink) = (try socket.duplicate(), try passed.descriptor.duplicate())
        let pump = Pump(from: try HostStream(own: source), to: try HostStream(sink, access: O_WRONLY), on: loop)
        pump.onEnd = { end in
            if end == .delivered, passed.kind == .socket { try? sink.shutdown(.writing) }
            if end != .delivered { try? source.shutdown(.both) }
        }
        pumps.append(pump)
        passedOutputs.append(pump)
        pump.start()
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

    private func carryOutput(_ number: Int, _ socket: Descriptor, to sink: HostStream) throws {
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
        outputs[number] = pump
        pump.start()
    }

    private func outputEnded() {
        openOutputs -= 1
    }

    /// Waits for the output of a process that has ended. A reader that takes its time is waited for, a guest that does not give
    /// what it has announced is not.
    ///
    /// - Parameters:
    ///   - end: tells how much it has written; a terminal's output is waited for until the terminal is closed.
    ///   - isAbandoned: whether nobody wants the rest any more.
    /// - Returns: whether all has been delivered.
    func drain(_ waiter: Waiter, of end: WaitResponse, unless isAbandoned: () -> Bool = { false }) throws -> Bool {
        func hasAll() -> Bool { isDrained || end.hasOutput && hasDelivered([end.output.stdout, end.output.stderr]) }
        func isComplete() -> Bool { hasAll() && passedOutputs.allSatisfy { $0.end != nil } }
        while !isComplete(), !isAbandoned() {
            let before = delivered
            do {
                try waiter.wait("the last output", atMost: end.hasOutput ? Self.patience : Self.terminalPatience) { isComplete() || isAbandoned() }
            } catch let error as SandboxError where error.kind == .timedOut {
                guard waitsForReader || delivered != before else { return !end.hasOutput || hasAll() }
            }
        }
        return hasAll()
    }

    func stop() {
        for pump in pumps { pump.stop() }
        pumps = []
        outputs = [:]
        passedOutputs = []
        sockets = []
        openOutputs = 0
    }
}
