import AgentAPI
import Glibc
import Linux
import OCI

/// The host's end of a container's terminal: raw while the container runs, and put back whatever happens.
final class ConsoleSession {
    let terminal: Descriptor
    private let settings: TerminalSettings?

    /// The terminal this process was started on, if its standard input is one.
    static func ofCaller() throws(SystemError) -> ConsoleSession? {
        guard Descriptor.standardInput.isTerminal else { return nil }
        return try ConsoleSession(Descriptor.standardInput, restoring: true)
    }

    /// A new terminal whose other end goes to whoever listens at `socket` (runc's `--console-socket`).
    ///
    /// - Parameter size: the specification's.
    static func sent(to socket: String, size: Box?) throws -> ConsoleSession {
        let connection: Descriptor
        do throws(SystemError) { connection = try Descriptor.connected(to: .unix(socket)) } catch {
            throw SandboxError(.badInput, "--console-socket \(socket): \(error.errno)")
        }
        let (master, terminal) = try Descriptor.pseudoTerminal()
        // Raw before anybody else sees it: both ends share the settings, and the engine adds its own.
        let session = try ConsoleSession(terminal, restoring: false)
        if let size { try terminal.setTerminalSize(TerminalSize(columns: UInt16(clamping: size.width), rows: UInt16(clamping: size.height))) }
        try connection.send(Array("/dev/ptmx".utf8), passing: [master])
        // Changes of size are signalled to the session the terminal belongs to. A process that leads none, as in a test, misses them.
        try? terminal.becomeControllingTerminal()
        return session
    }

    private init(_ terminal: Descriptor, restoring: Bool) throws(SystemError) {
        self.terminal = terminal
        let before = try terminal.terminalSettings()
        settings = restoring ? before : nil
        try terminal.setTerminalSettings(before.raw)
    }

    deinit {
        restore()
    }

    /// Puts the terminal back as it was.
    func restore() {
        if let settings { try? terminal.setTerminalSettings(settings) }
    }

    /// Columns and rows, if anybody has set them.
    var size: TerminalSize? {
        guard let size = try? terminal.terminalSize(), size.columns > 0, size.rows > 0 else { return nil }
        return size
    }

    /// Both directions, each with an open file of its own.
    func streams() throws(SystemError) -> ProcessStreams.Host {
        ProcessStreams.Host(
            standardInput: try HostStream(own: terminal.reopened(O_RDONLY | O_NOCTTY)),
            standardOutput: try HostStream(own: terminal.reopened(O_WRONLY | O_NOCTTY)))
    }
}
