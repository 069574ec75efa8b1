import AgentAPI
import Glibc
import Linux
import OCI
import TTRPC

/// What other commands ask of a container's monitor: the agent's own methods, on a Unix socket in the sandbox's directory.
///
/// Most calls are passed on as they are. Those that change the container's state are the monitor's.
final class ControlService {
    static let socketName = "control.sock"

    private unowned let monitor: ContainerMonitor
    private let loop: EventLoop
    private let listener: Descriptor
    private var servers: [ObjectIdentifier: Server] = [:]

    init(_ monitor: ContainerMonitor, _ directory: StateDirectory, on loop: EventLoop) throws(SystemError) {
        self.monitor = monitor
        self.loop = loop
        listener = try Descriptor.listening(at: .unix(directory.socketPath(Self.socketName)))
        try listener.setNonBlocking()
        try loop.add(listener, .readable) { [weak self] _ in self?.accept() }
    }

    deinit {
        loop.remove(listener)
    }

    private func accept() {
        guard let socket = try? listener.accept() else { return }
        let session = Session(monitor)
        let server = Server(session.methods(), on: loop)
        let key = ObjectIdentifier(server)
        servers[key] = server
        do throws(SystemError) {
            try server.serve(socket) { [weak self] in
                session.close()
                self?.servers[key] = nil
            }
        } catch {
            servers[key] = nil
        }
    }
}

/// One connection: what it started ends with it.
private final class Session {
    private unowned let monitor: ContainerMonitor
    /// Processes this connection executed and has not seen the end of.
    private var processes: Set<String> = []
    /// The container that joined the machine by this connection.
    private var member: Member?

    init(_ monitor: ContainerMonitor) {
        self.monitor = monitor
    }

    func methods() -> MethodTable {
        var table = MethodTable()
        table.on(AgentMethods.startContainer) { [monitor] request, reply in
            monitor.start(request) { reply.complete($0) }
        }
        table.on(AgentMethods.pause) { [monitor] request, reply in monitor.setPaused(true, request) { reply.complete($0) } }
        table.on(AgentMethods.resume) { [monitor] request, reply in monitor.setPaused(false, request) { reply.complete($0) } }
        table.on(AgentMethods.update) { [monitor] request, reply in monitor.update(request) { reply.complete($0) } }
        table.on(MonitorMethods.join) { [weak self] request, reply in self?.join(request, reply) }
        table.on(MonitorMethods.leave) { [weak self] _, reply in
            guard let self, let member = self.member else { return reply.succeed(Empty()) }
            self.member = nil
            self.monitor.dismiss(member) { reply.succeed(Empty()) }
        }
        table.on(MonitorMethods.snapshot) { [monitor] request, reply in monitor.snapshot(request) { reply.complete($0) } }
        table.on(AgentMethods.exec) { [weak self] request, reply in self?.exec(request, reply) }
        table.on(AgentMethods.wait) { [weak self] request, reply in self?.wait(request, reply) }
        table.on(AgentMethods.listProcesses) { [monitor] request, reply in
            monitor.relay(AgentMethods.listProcesses, request, \.containerID, AgentConnection.shortDeadline) { result in
                reply.complete(result.map { monitor.withoutStrangers($0) })
            }
        }
        relay(AgentMethods.signal, \.containerID, AgentConnection.shortDeadline, in: &table)
        relay(AgentMethods.resizeConsole, \.containerID, AgentConnection.shortDeadline, in: &table)
        relay(AgentMethods.stats, \.containerID, AgentConnection.shortDeadline, in: &table)
        relay(AgentMethods.waitOOM, \.containerID, nil, in: &table)
        return table
    }

    private func relay<Request, Response>(
        _ method: Method<Request, Response>, _ id: WritableKeyPath<Request, String>, _ deadline: UInt64?, in table: inout MethodTable
    ) {
        table.on(method) { [monitor] request, reply in
            monitor.relay(method, request, id, deadline) { reply.complete($0) }
        }
    }

    private func join(_ request: JoinRequest, _ reply: MethodTable.Reply<Empty>) {
        guard member == nil else { return reply.fail(Status(.failedPrecondition, "this connection has joined already")) }
        if let refusal = monitor.refusal(of: request) { return reply.fail(refusal) }
        let member = Member(id: request.containerID, shares: request.shares.map(\.name))
        self.member = member
        monitor.admit(request) { [weak self, monitor] result in
            guard case .failure = result else { return reply.complete(result) }
            self?.member = nil
            monitor.dismiss(member) { reply.complete(result) }
        }
    }

    private func exec(_ request: ExecRequest, _ reply: MethodTable.Reply<ProcessResponse>) {
        monitor.exec(request) { [weak self] result in
            if case .success = result { self?.processes.insert(request.execID) }
            reply.complete(result)
        }
    }

    private func wait(_ request: ProcessRequest, _ reply: MethodTable.Reply<WaitResponse>) {
        monitor.relay(AgentMethods.wait, request, \.containerID, nil) { [weak self, monitor] result in
            if case .success = result {
                self?.processes.remove(request.execID)
                monitor.forget(request.execID)
            }
            reply.complete(result)
        }
    }

    /// Whoever ran them is gone, and with it their input and output.
    func close() {
        for process in processes { monitor.kill(process) }
        processes = []
        if let member { monitor.dismiss(member) {} }
        member = nil
    }
}

extension MethodTable.Reply {
    fileprivate func complete(_ result: Result<Response, Status>) {
        switch result {
        case .success(let response): succeed(response)
        case .failure(let status): fail(status)
        }
    }
}
