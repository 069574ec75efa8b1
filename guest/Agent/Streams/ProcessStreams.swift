import AgentAPI
import CLinux
import Glibc
import Linux

/// A process's standard streams: pipes or a terminal on its side, the host's connections on the other.
///
/// Pipes and not the connections themselves: programs open `/dev/stdout` again, which sockets do not allow.
final class ProcessStreams {
    private let loop: EventLoop
    private var relays: [Relay] = []
    /// With a terminal: the end a person would hold.
    private(set) var terminal: Descriptor?
    /// The connections, until the terminal is there.
    private var input: Descriptor?
    private var output: Descriptor?
    /// What the process is given, until it has it.
    private(set) var forProcess: [Descriptor] = []

    /// - Parameters:
    ///   - sockets: by id.
    ///   - owner: who may open `/dev/stdout` again.
    init(
        _ streams: Streams, _ sockets: [UInt64: Descriptor], isTerminal: Bool, owner: UInt32, null: Descriptor, on loop: EventLoop
    ) throws(SystemError) {
        self.loop = loop
        if isTerminal {
            input = sockets[streams.stdin]
            output = sockets[streams.stdout]
            return
        }
        for (number, id) in [streams.stdin, streams.stdout, streams.stderr].enumerated() {
            guard let socket = sockets[id] else {
                forProcess.append(null)
                continue
            }
            let pipe = try Descriptor.pipe()
            let (theirs, ours) = number == 0 ? (pipe.reading, pipe.writing) : (pipe.writing, pipe.reading)
            if owner != 0 { try theirs.changeOwner(uid: owner, gid: nil) }
            forProcess.append(theirs)
            try relay(from: number == 0 ? socket : ours, to: number == 0 ? ours : socket, .splice)
        }
    }

    /// Connects the terminal the process opened.
    func connect(terminal: Descriptor) throws(SystemError) {
        self.terminal = terminal
        if let input { try relay(from: input, to: terminal.duplicate(), .copy) }
        if let output { try relay(from: terminal.duplicate(), to: output, .copy) }
        input = nil
        output = nil
    }

    /// The process has its ends now; as long as they are open here too nobody would see them close.
    func releaseProcessEnds() {
        forProcess = []
    }

    /// Drops what has not been delivered.
    func close() {
        for relay in relays { relay.stop() }
        relays = []
        terminal = nil
        input = nil
        output = nil
        forProcess = []
    }

    /// Whether something may still be delivered.
    var isOpen: Bool { !relays.isEmpty }

    private func relay(from source: Descriptor, to sink: Descriptor, _ way: Relay.Way) throws(SystemError) {
        var own: Relay?
        let relay = try Relay(from: source, to: sink, way, on: loop) { [weak self] in
            self?.relays.removeAll { $0 === own }
            own = nil
        }
        own = relay
        relays.append(relay)
    }
}
