import AgentAPI
import Glibc
import Linux
public import Logging
public import OCI
import TTRPC

/// What a process executed in a running container needs; sent as JSON to the process that carries its streams.
public struct ExecLaunch: Codable, Sendable, Equatable {
    public let id: String
    /// The root of all state, absolute.
    public let root: String
    public let process: OCI.Process
    public let isDetached: Bool
    public var pidFile: String?
    public var consoleSocket: String?
    /// Below the container's, from there on.
    public var cgroup: String?
    /// The caller's open files that the process has too.
    public var passed: [Int32] = []
    /// A paused container is no error: the process runs once it is resumed.
    public var waitsForResume = false

    public init(id: String, root: String, process: OCI.Process, isDetached: Bool) {
        self.id = id
        self.root = root
        self.process = process
        self.isDetached = isDetached
    }
}

/// Another process in a running container: its streams are this process's, and so is its end.
public final class ExecSession {
    /// Microseconds.
    private static let pollInterval: UInt32 = 20_000

    private let launch: ExecLaunch
    private let log: Logger
    private var client: ControlClient?
    private var console: ConsoleSession?
    private var signals: SignalForwarder?
    private var execID = ""
    /// Called once the process runs.
    public var onReady: (() throws -> Void)?

    public init(_ launch: ExecLaunch, log: Logger) {
        self.launch = launch
        self.log = log
    }

    /// - Returns: the process's exit status.
    public func run() throws -> Int32 {
        let handle = try ContainerHandle(launch.id, in: StateRoot(launch.root))
        try checkState(handle)
        let client = try handle.client()
        self.client = client
        // Names this process, for `ps`.
        execID = "\(processID()).\(try GuestStream.freshID())"
        log.debug("\(launch.id): exec \(execID)")
        defer { console?.restore() }

        let streams = ProcessStreams(try host(), on: client.waiter.loop)
        defer { streams.stop() }
        let machine = try handle.machineDirectory()
        let guestStreams = try withExtendedLifetime(machine) { try streams.open(vsock: machine.machinePlace.socketPath(SandboxMachine.vsockName)) }
        var process = launch.process
        if let size = console?.size { process.consoleSize = Box(height: UInt32(size.rows), width: UInt32(size.columns)) }
        let request = try ExecRequest.with {
            $0.containerID = launch.id
            $0.execID = execID
            $0.process = .init(try JSON.encode(process).utf8)
            $0.streams = guestStreams
            $0.cgroup = launch.cgroup ?? ""
        }
        _ = try client.call(AgentMethods.exec, request)
        log.debug("\(launch.id): exec \(execID) runs")
        var end: Result<WaitResponse, Status>?
        let which = ProcessRequest.with {
            $0.containerID = launch.id
            $0.execID = execID
        }
        client.callLater(AgentMethods.wait, which, deadline: nil) { end = $0 }
        signals = try SignalForwarder(on: client.waiter.loop) { [weak self] in self?.take($0) }
        if let path = launch.pidFile { try writePIDFile(path) }
        try onReady?()

        try client.waiter.wait("the process to end") { end != nil }
        guard case .success(let answer) = end else { throw SandboxError(.agentLost, "the guest's agent did not tell how the process ended") }
        guard try streams.drain(client.waiter, of: answer) else { throw SandboxError(.agentLost, "the guest did not give all of the process's output") }
        let status = Int32(truncatingIfNeeded: answer.exitStatus & 0xff)
        log.debug("\(launch.id): exec \(execID) ended with status \(status)")
        return status
    }

    /// The status once the container takes a process.
    private func checkState(_ handle: ContainerHandle) throws {
        var status = try handle.state().status
        while status == .paused, launch.waitsForResume {
            usleep(Self.pollInterval)
            status = try handle.state().status
        }
        switch status {
        // runc's containers take processes before their own has been started, too.
        case .running, .created: return
        case .paused: throw SandboxError(.wrongState, "cannot exec in a paused container (use --ignore-paused to override)")
        case .stopped: throw SandboxError(.wrongState, "cannot exec in a stopped container: container not running")
        case .creating: throw SandboxError(.wrongState, "cannot exec in a container that is being created: container not running")
        }
    }

    private func host() throws -> ProcessStreams.Host {
        var host = try standardStreams()
        host.passed = try PassedDescriptor.take(launch.passed)
        return host
    }

    private func standardStreams() throws -> ProcessStreams.Host {
        if let socket = launch.consoleSocket {
            guard launch.process.terminal, launch.isDetached else {
                throw SandboxError(.badInput, "cannot use console socket if microvm will not detach or allocate tty")
            }
            let session = try ConsoleSession.sent(to: socket, size: launch.process.consoleSize)
            console = session
            return try session.streams()
        }
        let standard: Set = [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO]
        guard launch.process.terminal else { return try .ofCaller(forGood: launch.isDetached, unlessNull: standard) }
        guard !launch.isDetached else {
            throw SandboxError(.badInput, "cannot allocate tty if microvm will detach without setting console socket")
        }
        console = try ConsoleSession.ofCaller()
        var host = try ProcessStreams.Host.ofCaller(forGood: false)
        host.standardError = nil
        return host
    }

    private func take(_ signal: Int32) {
        guard let client else { return }
        if signal == SIGWINCH {
            guard let size = console?.size else { return }
            let request = ResizeConsoleRequest.with {
                $0.containerID = launch.id
                $0.execID = execID
                $0.columns = UInt32(size.columns)
                $0.rows = UInt32(size.rows)
            }
            client.callLater(AgentMethods.resizeConsole, request, deadline: AgentConnection.shortDeadline) { _ in }
            return
        }
        let request = SignalRequest.with {
            $0.containerID = launch.id
            $0.execID = execID
            $0.signal = UInt32(signal)
        }
        client.callLater(AgentMethods.signal, request, deadline: AgentConnection.shortDeadline) { _ in }
    }
}
