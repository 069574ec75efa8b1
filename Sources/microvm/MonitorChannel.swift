import Linux
import Logging
import OCI
import Sandbox

/// Between a command and the monitor it starts: one message each way, and notes and warnings of the monitor's before its answer. The command's going away, and the monitor's, are seen by the other.
struct MonitorChannel {
    private static let launchLimit = 128 << 10
    private static let note = "note "
    private static let warning = "warning "
    private static let answerLimit = 16 << 10

    let socket: Descriptor

    init(_ socket: Descriptor) {
        self.socket = socket
    }

    // MARK: The command's side

    /// Says what to run, and waits for the answer of the process at the other end.
    func send(_ launch: some Encodable, to monitor: ChildProcess) throws {
        try socket.send(Array(JSON.encode(launch).utf8))
        var answer: String
        repeat {
            while try !socket.waitReadable(atMost: 1_000_000_000) {
                guard try !monitor.pidfd.waitReadable(atMost: 0) else { throw Failure(.internalError, "the container's monitor was killed") }
            }
            answer = String(decoding: try socket.receive(limit: Self.answerLimit).bytes, as: UTF8.self)
            // Elsewhere standard error is the container's, and an engine's log of it.
            if answer.hasPrefix(Self.note), Descriptor.standardError.isTerminal {
                try? Descriptor.standardError.writeAll(answer.dropFirst(Self.note.count) + "\n")
            }
            if answer.hasPrefix(Self.warning) { Logger(label: "microvm").warning("\(answer.dropFirst(Self.warning.count))") }
        } while answer.hasPrefix(Self.note) || answer.hasPrefix(Self.warning)
        if answer == "ok" { return }
        let words = answer.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        guard words.count == 3, words[0] == "error", let status = Int32(words[1]).flatMap(ExitStatus.init) else {
            throw Failure(.internalError, "the container's monitor ended before there was a container")
        }
        throw Failure(status, String(words[2]))
    }

    // MARK: The monitor's side

    func receive<Wanted: Decodable>() throws -> Wanted {
        try JSON.decode(from: socket.receive(limit: Self.launchLimit).bytes)
    }

    func succeed() throws {
        // Fails when nobody waits any more: the container goes too then, for its creator does not know of it.
        try socket.send(Array("ok".utf8))
    }

    /// For the person who waits for the command.
    func note(_ progress: Templates.Progress) {
        guard case .began(let size) = progress else { return }
        try? socket.send(Array("\(Self.note)\(TemplateReporter.beginning(size))".utf8))
    }

    /// For the command's log.
    func warn(_ text: String) {
        try? socket.send(Array("\(Self.warning)\(text)".utf8))
    }

    func fail(_ error: any Error) {
        try? socket.send(Array("error \(ExitStatus(of: error).rawValue) \(error)".utf8))
    }
}
