import AgentAPI
import Glibc
import Linux
import OCI
import TTRPC

/// The agent of a machine that is not there.
final class FakeGuest {
    private let options: Options
    private let loop: EventLoop
    private var server: Server?
    /// Streams the host dialled, by id.
    private var streams: [UInt64: Descriptor] = [:]
    private var container = ""
    /// By exec id; the container's first process has none.
    private var processes: [String: FakeProcess] = [:]

    init(_ options: Options, on loop: EventLoop) throws {
        self.options = options
        self.loop = loop
        try options.vsock.setNonBlocking()
        try loop.add(options.vsock, .readable) { [weak self] _ in self?.acceptStream() }
    }

    func dialHost() throws {
        let socket = try Descriptor.connected(to: .unix("/proc/self/fd/\(options.directory)/\(options.vsockPath)_\(AgentAddress.rpcPort)"))
        let server = Server(methods(), on: loop)
        self.server = server
        try server.serve(socket) { exit(0) }
    }

    /// `CONNECT 1025\n`, answered, then eight bytes of id.
    private func acceptStream() {
        guard let socket = try? options.vsock.accept() else { return }
        var line: [UInt8] = []
        while line.last != UInt8(ascii: "\n") {
            guard let byte = try? socket.read(upTo: 1), !byte.isEmpty else { return }
            line += byte
        }
        guard line == Array("CONNECT \(AgentAddress.streamPort)\n".utf8) else { return }
        try? socket.writeAll("OK 7\n")
        // Comes when the host has read that.
        try? loop.add(socket, .readable) { [weak self, loop] _ in
            loop.remove(socket)
            guard let bytes = try? socket.read(upTo: 8), bytes.count == 8 else { return }
            self?.streams[bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }] = socket
        }
    }

    private func methods() -> MethodTable {
        var table = MethodTable()
        table.answer(AgentMethods.connect) { [options] _ in
            ConnectResponse.with {
                $0.version = options.fault == .otherVersion ? 99 : 1
                $0.startedAtNs = 1_000_000
                $0.readyAtNs = 2_000_000
            }
        }
        table.answer(AgentMethods.renew) { _ in Empty() }
        table.answer(AgentMethods.createContainer) { [weak self] in try self?.create($0) ?? ProcessResponse() }
        table.answer(AgentMethods.startContainer) { [weak self] _ in try self?.start() ?? Empty() }
        table.answer(AgentMethods.exec) { [weak self] in try self?.exec($0) ?? ProcessResponse() }
        table.on(AgentMethods.wait) { [weak self] request, reply in
            guard let process = self?.processes[request.execID] else { return reply.fail(Status(.notFound, "no such process")) }
            process.onEnd { status in reply.succeed(.with { $0.exitStatus = status }) }
        }
        table.on(AgentMethods.signal) { [weak self] request, reply in
            if self?.options.fault == .deafToSignals { return self?.held.append(reply) ?? () }
            guard let process = self?.processes[request.execID], process.send(Int32(request.signal)) else {
                return reply.fail(Status(.notFound, "process already finished"))
            }
            reply.succeed(Empty())
        }
        table.answer(AgentMethods.listProcesses) { [weak self] _ in self?.list() ?? ListProcessesResponse() }
        table.answer(AgentMethods.stats) { _ in .with { $0.values = ["memory.current": 4096, "cpu.stat/usage_usec": 7, "memory.stat/anon": 1] } }
        table.answer(AgentMethods.pause) { _ in Empty() }
        table.answer(AgentMethods.resume) { _ in Empty() }
        table.answer(AgentMethods.update) { request in
            throw Status(.invalidArgument, String(decoding: request.resources, as: UTF8.self))
        }
        table.answer(AgentMethods.resizeConsole) { _ in Empty() }
        table.answer(AgentMethods.deleteContainer) { _ in Empty() }
        table.answer(AgentMethods.powerOff) { [options] _ in
            guard options.fault == .staysOn else { FakeVMM.end(options, "power-off", 0) }
            return Empty()
        }
        return table
    }

    private var held: [MethodTable.Reply<Empty>] = []

    private func create(_ request: CreateContainerRequest) throws -> ProcessResponse {
        let spec: Spec = try JSON.decode(from: Array(request.spec))
        container = request.containerID
        processes[""] = try process(spec.process, request.streams)
        return .with { $0.pid = 1 }
    }

    private func start() throws -> Empty {
        switch options.fault {
        case .panicsAtStart: FakeVMM.end(options, "panic", 4)
        case .agentLeaves: exit(3)
        default: break
        }
        try processes[""]?.start(on: loop)
        return Empty()
    }

    private func exec(_ request: ExecRequest) throws -> ProcessResponse {
        let process = try process(JSON.decode(from: Array(request.process)), request.streams)
        processes[request.execID] = process
        try process.start(on: loop)
        return .with { $0.pid = 2 }
    }

    private func process(_ wanted: OCI.Process?, _ ids: Streams) throws -> FakeProcess {
        guard let wanted else { throw Status(.invalidArgument, "process: missing") }
        func stream(_ id: UInt64) throws -> Descriptor? {
            // The id may still be on its way, on a connection of its own.
            for _ in 0..<1000 where id != 0 && streams[id] == nil { try loop.runOnce(milliseconds: 10) }
            return streams.removeValue(forKey: id)
        }
        var environment = wanted.env
        environment += ["SHARES=\(options.shares.joined(separator: " "))", "SIZE=\(options.size)"]
        // Under another number, which the program is told.
        let passed = try ids.passed.compactMap { passed in
            switch passed.source {
            case .reading(let id), .writing(let id), .socket(let id): try stream(id).map { (passed.number, $0) }
            case .device, nil: nil
            }
        }
        environment += passed.map { "FD\($0)=\($1.raw)" }
        return FakeProcess(wanted.args, environment, passed: passed.map(\.1), try [stream(ids.stdin), stream(ids.stdout), stream(ids.stderr)])
    }

    private func list() -> ListProcessesResponse {
        var ids = processes.keys.sorted()
        if options.fault == .strangers { ids.append("1.999") }
        return .with { response in
            response.processes = ids.map { id in .with { $0.pid = 1; $0.execID = id; $0.command = "program" } }
        }
    }
}
