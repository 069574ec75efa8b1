import AgentAPI
import CLinux
import Glibc
import Linux

/// A process's standard streams: pipes or a terminal on its side, the host's connections on the other.
///
/// Pipes and not the connections themselves: programs open `/dev/stdout` again, which sockets do not allow.
final class ProcessStreams {
    private let loop: EventLoop
    private struct Carried {
        /// 0 to 2, a terminal has 0 and 1; more with ``passed``.
        let number: Int
        let relay: Relay
    }

    /// Bytes of output since its connections were made.
    struct Counts: Equatable {
        var output: UInt64 = 0
        var errors: UInt64 = 0
    }

    private let isTerminal: Bool
    private var relays: [Carried] = []
    /// Of those that have ended, by number.
    private var carried: [Int: UInt64] = [:]
    /// With a terminal: the end a person would hold.
    private(set) var terminal: Descriptor?
    /// The connections, until the terminal is there.
    private var input: Descriptor?
    private var output: Descriptor?
    /// What the process is given, until it has it; nil: a null device.
    private(set) var forProcess: [Descriptor?] = []
    /// Likewise, with the numbers it is to have. Their own are higher than those: none is in another's way.
    private(set) var passed: [(number: Int32, descriptor: Descriptor)] = []

    /// - Parameters:
    ///   - sockets: by id.
    ///   - owner: who may open `/dev/stdout` again.
    init(
        _ streams: Streams, _ sockets: [UInt64: Descriptor], isTerminal: Bool, owner: UInt32, on loop: EventLoop
    ) throws(SystemError) {
        self.loop = loop
        self.isTerminal = isTerminal
        let last = streams.passed.map(\.number).max() ?? 0
        for wanted in streams.passed {
            let theirs = try descriptor(wanted, sockets, owner: owner)
            passed.append((Int32(truncatingIfNeeded: wanted.number), try theirs.duplicate(from: Int32(truncatingIfNeeded: last) + 2)))
        }
        if isTerminal {
            input = sockets[streams.stdin]
            output = sockets[streams.stdout]
            return
        }
        for (number, id) in [streams.stdin, streams.stdout, streams.stderr].enumerated() {
            guard let socket = sockets[id] else {
                forProcess.append(nil)
                continue
            }
            // The process's own end waits.
            let pipe = try Descriptor.pipe(nonBlocking: number == 0 ? .writing : .reading)
            let (theirs, ours) = number == 0 ? (pipe.reading, pipe.writing) : (pipe.writing, pipe.reading)
            if owner != 0 { try theirs.changeOwner(uid: owner, gid: nil) }
            forProcess.append(theirs)
            try relay(number, from: number == 0 ? socket : ours, to: number == 0 ? ours : socket, .splice)
        }
    }

    private func descriptor(_ wanted: PassedDescriptor, _ sockets: [UInt64: Descriptor], owner: UInt32) throws(SystemError) -> Descriptor {
        let number = Int(wanted.number)
        switch wanted.source {
        case .reading(let id):
            let (theirs, ours) = try Descriptor.pipe(nonBlocking: .writing)
            if owner != 0 { try theirs.changeOwner(uid: owner, gid: nil) }
            if let socket = sockets[id] { try relay(number, from: socket, to: ours, .splice) }
            return theirs
        case .writing(let id):
            let (ours, theirs) = try Descriptor.pipe(nonBlocking: .reading)
            if owner != 0 { try theirs.changeOwner(uid: owner, gid: nil) }
            if let socket = sockets[id] { try relay(number, from: ours, to: socket, .splice) }
            return theirs
        case .socket(let id):
            // The connection itself: closing one direction means something here.
            guard let socket = sockets[id] else { throw SystemError("passed descriptor \(number)", .badFileDescriptor) }
            try socket.setNonBlocking(false)
            return socket
        case .device(let name) where ["null", "zero", "full", "random", "urandom"].contains(name): return try Descriptor.open("/dev/\(name)", O_RDWR)
        case .device, nil: throw SystemError("passed descriptor \(number)", .invalidArgument)
        }
    }

    /// Connects the terminal the process opened, which does not wait.
    func connect(terminal: Descriptor) throws(SystemError) {
        self.terminal = terminal
        if let input { try relay(0, from: input, to: terminal.duplicate(), .copy) }
        if let output { try relay(1, from: terminal.duplicate(), to: output, .copy) }
        input = nil
        output = nil
    }

    /// The process has its ends now; as long as they are open here too nobody would see them close.
    func releaseProcessEnds() {
        forProcess = []
        passed = []
    }

    /// Drops what has not been delivered.
    func close() {
        for carried in relays { carried.relay.stop() }
        relays = []
        terminal = nil
        input = nil
        output = nil
        forProcess = []
        passed = []
    }

    /// Whether something may still be delivered.
    var isOpen: Bool { !relays.isEmpty }

    /// What has been written so far, whether or not it has gone to the host. A terminal has more on its way than it tells.
    var written: Counts? { isTerminal ? nil : counts(\.taken) }

    private func counts(_ count: KeyPath<Relay, UInt64>) -> Counts {
        func of(_ number: Int) -> UInt64 { relays.first { $0.number == number }?.relay[keyPath: count] ?? carried[number] ?? 0 }
        return Counts(output: of(1), errors: of(2))
    }

    // MARK: Snapshots

    /// Stops carrying: what went to the host.
    func hold() -> Counts {
        for carried in relays { carried.relay.hold() }
        return counts(\.delivered)
    }

    func release() {
        for carried in relays { carried.relay.release() }
    }

    /// Goes on with other connections. Those for streams the process has closed are closed too, and streams without a connection end.
    func attach(_ streams: Streams, _ sockets: [UInt64: Descriptor]) throws(SystemError) {
        let standard = [streams.stdin, streams.stdout, streams.stderr]
        // What was passed stays where it was.
        func id(_ number: Int) -> UInt64 { number < standard.count ? standard[number] : 0 }
        for carried in relays {
            guard let socket = sockets[id(carried.number)] else {
                carried.relay.stop()
                continue
            }
            try carried.relay.attach(socket, as: carried.number == 0 ? .source : .sink)
        }
        relays.removeAll { sockets[id($0.number)] == nil }
    }

    private func relay(_ number: Int, from source: Descriptor, to sink: Descriptor, _ way: Relay.Way) throws(SystemError) {
        var own: Relay?
        let relay = try Relay(from: source, to: sink, way, on: loop) { [weak self] in
            if let self, let relay = own {
                self.carried[number] = relay.delivered
                self.relays.removeAll { $0.relay === relay }
            }
            own = nil
        }
        own = relay
        relays.append(Carried(number: number, relay: relay))
    }
}
