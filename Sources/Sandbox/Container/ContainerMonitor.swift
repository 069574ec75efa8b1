import AgentAPI
import Glibc
public import Linux
public import Logging
import OCI
import TTRPC

/// Owns one container and its machine, from the bundle to the exit status. The process this runs in is what engines
/// know as the container's: it lives exactly as long, carries its streams, and its signals are the container's.
public final class ContainerMonitor {
    public let launch: Launch
    let loop: EventLoop
    private let build: String
    private let log: Logger
    private var ledger: Ledger
    private var progress: StartProgress?
    private var signals: SignalForwarder?
    private var directory: StateDirectory?
    private var machine: SandboxMachine?
    private var standIn: StandIn?
    private var cgroup: ContainerCgroup?
    private var console: ConsoleSession?
    private var streams: ProcessStreams?
    private var control: ControlService?
    private var record: SandboxRecord?
    private var hooks = Hooks()
    /// Who asked for the start, and waits for the answer.
    private var starter: ((Result<Empty, Status>) -> Void)?
    /// The agent's answer to Wait.
    private var exit: Result<WaitResponse, Status>?
    /// A signal that came before there was a container to take it.
    private var interrupted: Int32?
    /// The container's process on this host was killed.
    private var killed = false
    private var processes: Set<String> = []
    /// Whoever waits for ``onReady``.
    private var creator: Descriptor?
    /// Said once, when the container is created or, for those that start at once, started.
    public var onReady: (() throws -> Void)?
    /// Hears of a template being made, which takes as long as a boot.
    public var onTemplate: ((Templates.Progress) -> Void)?
    /// What the container's process on this host exits with when ``run()`` fails.
    public var statusOfError: (any Error) -> Int32 = { _ in 255 }

    /// - Parameters:
    ///   - ledger: with the time since the process began.
    ///   - build: this program's version, told to the agent.
    public init(_ launch: Launch, ledger: Ledger, build: String, log: Logger) throws(SystemError) {
        self.launch = launch
        self.ledger = ledger
        self.build = build
        self.log = log
        loop = try EventLoop()
    }

    /// Ends the start, as a signal does, when the peer of `channel` goes away before ``onReady`` was called.
    public func abandon(whenClosed channel: Descriptor) throws(SystemError) {
        creator = channel
        try loop.add(channel, .readClosed) { [weak self] _ in
            self?.loop.remove(channel)
            self?.interrupt(SIGHUP)
        }
    }

    /// Runs the container to its end.
    ///
    /// - Returns: its exit status.
    public func run() throws -> Int32 {
        ignoreBrokenPipes()
        if launch.mode == .foreground { progress = StartProgress(on: loop) }
        signals = try SignalForwarder(on: loop) { [weak self] in self?.take($0) }
        let root = try StateRoot(launch.root)
        do {
            try create(in: root)
            try startWhenAsked()
            let status = try finish()
            end(root, status)
            return status
        } catch {
            // What ended the machine explains what failed in consequence.
            let cause = machine?.waiter.failure ?? interruption ?? error
            end(root, statusOfError(cause))
            throw cause
        }
    }

    private func begin(_ stage: String, at time: UInt64 = monotonicNanoseconds()) {
        ledger.begin(stage, at: time)
        progress?.stage = stage
    }

    // MARK: Create

    private func create(in root: StateRoot) throws {
        begin("parse")
        let bundle = try Bundle.load(launch.bundle)
        for warning in try bundle.spec.validate() { log.debug("\(warning)") }
        let rootfs = try bundle.rootfs()
        hooks = bundle.spec.hooks ?? Hooks()

        begin("plan")
        let plan = try Plan(
            bundle, rootfs: rootfs, cpus: launch.cpus, memory: launch.memory, softwareKVM: launch.machine.softwareKVM ?? false, kind: SourceKind.of)
        let terminal = bundle.spec.process?.terminal ?? false
        try checkConsole(terminal)

        StateDirectory.sweep(root)
        begin("stand-in")
        let standIn = try standIn(bundle.spec)
        var record = SandboxRecord(
            id: launch.id, pid: standIn.pid, monitor: processID(), status: .creating, bundle: bundle.path, rootfs: rootfs, created: timestamp(wallClockNanoseconds()),
            ociVersion: bundle.spec.ociVersion, annotations: bundle.spec.annotations, isTransient: !launch.keepsState)
        let cgroup = ContainerCgroup(bundle.spec, id: launch.id, memory: plan.size.memory)
        record.cgroups = cgroup?.paths ?? []
        let directory = try StateDirectory.create(record, config: bundle.document, in: root)
        self.directory = directory
        self.record = record
        let resources = bundle.spec.linux?.resources ?? LinuxResources()
        self.cgroup = cgroup
        try cgroup?.enter(standIn.pid)
        try cgroup?.apply(resources, .booting)
        try standIn.enter()

        if bundle.spec.root?.readonly == true, let root = try? Descriptor.open(rootfs, O_RDONLY | O_DIRECTORY) {
            MountPoints(root: root).make(plan.guestSpec.mounts) { mount in plan.isFile(mount) }
        }
        let machine = try startMachine(plan, directory)
        try standIn.waitUntilReady(machine.waiter)
        try cgroup?.apply(resources, .running)

        begin("streams")
        let streams = ProcessStreams(try hostStreams(terminal), on: loop)
        streams.onFirstOutput = { [weak self] in self?.ledger.begin("program") }
        self.streams = streams
        let guestStreams = try streams.open(vsock: machine.vsockPath)

        if !hooks.prestart.isEmpty || !hooks.createRuntime.isEmpty {
            begin("hooks")
            // What crun tells them, and conformance tests expect; the newer hooks are told what the specification says.
            var created = record.state
            created.status = .created
            try HookRunner().run("prestart", hooks.prestart, created)
            try HookRunner().run("createRuntime", hooks.createRuntime, record.state)
        }

        begin("create")
        var spec = plan.guestSpec
        if terminal, let size = console?.size { spec.process?.consoleSize = Box(height: UInt32(size.rows), width: UInt32(size.columns)) }
        let request = try CreateContainerRequest.with {
            $0.containerID = launch.id
            $0.spec = .init(try JSON.encode(spec).utf8)
            $0.streams = guestStreams
        }
        _ = try machine.call(AgentMethods.createContainer, request)
        let whole = ProcessRequest.with { $0.containerID = launch.id }
        machine.callLater(AgentMethods.wait, whole, deadline: nil) { [weak self] in self?.exit = $0 }
        record.status = .created
        try write(record)
        control = try ControlService(self, directory, on: loop)
    }

    private func standIn(_ spec: Spec) throws -> StandIn {
        let standIn = try StandIn(StandInNamespaces(spec.linux), outlivesCaller: launch.mode != .foreground, on: loop)
        standIn.onSignal = { [weak self] in self?.take($0) }
        standIn.onEnd = { [weak self] in self?.standInKilled() }
        self.standIn = standIn
        return standIn
    }

    /// As SIGKILL ends any container, this one's machine ends.
    private func standInKilled() {
        killed = true
        if record?.status == .creating { return interrupt(SIGKILL) }
        if exit == nil { exit = .success(.with { $0.exitStatus = 128 + UInt32(SIGKILL) }) }
    }

    /// runc's rules.
    private func checkConsole(_ terminal: Bool) throws(SandboxError) {
        if launch.consoleSocket != nil, !terminal || launch.mode == .foreground {
            throw SandboxError(.badInput, "cannot use console socket if microvm will not detach or allocate tty")
        }
        if launch.consoleSocket == nil, terminal, launch.mode != .foreground {
            throw SandboxError(.badInput, "cannot allocate tty if microvm will detach without setting console socket")
        }
    }

    private func hostStreams(_ terminal: Bool) throws -> ProcessStreams.Host {
        if let socket = launch.consoleSocket {
            let session = try ConsoleSession.sent(to: socket)
            console = session
            return try session.streams()
        }
        if terminal { console = try ConsoleSession.ofCaller() }
        var host = try ProcessStreams.Host.ofCaller()
        if terminal { host.standardError = nil }
        return host
    }

    private func startMachine(_ plan: Plan, _ directory: StateDirectory) throws -> SandboxMachine {
        let starter = MachineStarter(
            place: directory.machinePlace, loop: loop, options: launch.machine, build: build, log: log,
            mark: { [weak self] in self?.begin($0, at: $1 ?? monotonicNanoseconds()) },
            report: { [weak self] in self?.tell($0) },
            use: { [weak self] machine in
                self?.machine = machine
                if let interruption = self?.interruption { throw interruption }
            })
        return try starter.start(plan)
    }

    private func tell(_ news: Templates.Progress) {
        guard let onTemplate else { return }
        // One line of progress at a time.
        if case .began = news { progress?.end() }
        onTemplate(news)
        if case .ended = news, progress != nil { progress = StartProgress(on: loop) }
    }

    private func write(_ new: SandboxRecord) throws {
        record = new
        try directory?.write(new)
    }

    // MARK: Start

    private func startWhenAsked() throws {
        guard let machine, var record else { return }
        if let path = launch.pidFile { try writePIDFile(path, record.pid) }
        if launch.mode == .create {
            try ready()
            try machine.waiter.wait("start") { starter != nil || exit != nil }
            guard exit == nil else { return }
        }
        do {
            begin("start")
            progress?.end()
            _ = try machine.call(AgentMethods.startContainer, ContainerRequest.with { $0.containerID = launch.id })
            ledger.begin("first output")
            record.status = .running
            try write(record)
            if !hooks.poststart.isEmpty { try HookRunner().run("poststart", hooks.poststart, record.state) }
            starter?(.success(Empty()))
        } catch {
            starter?(.failure((machine.waiter.failure ?? error as? SandboxError)?.status ?? Status(.internal, "\(error)")))
            throw error
        }
        if launch.mode == .detached { try ready() }
    }

    private func ready() throws {
        if let creator { loop.remove(creator) }
        creator = nil
        try onReady?()
        onReady = nil
    }

    // MARK: End

    private func finish() throws -> Int32 {
        guard let machine, let streams else { throw SandboxError(.guest, "no container") }
        try machine.waiter.wait("the container to end") { exit != nil }
        guard case .success(let end) = exit else { throw SandboxError(.agentLost, "the guest's agent did not tell how the container ended") }
        let status = Int32(truncatingIfNeeded: end.exitStatus & 0xff)
        if killed { machine.kill() } else { try streams.drain(machine.waiter) { [weak self] in self?.interrupted != nil || self?.killed == true } }
        ledger.begin("end")
        if end.oomKilled { noteOutOfMemory() }
        if var record {
            record.status = .stopped
            record.exitStatus = status
            try write(record)
        }
        machine.powerOff()
        return status
    }

    /// As runc's users expect of it: engines look for this file.
    private func noteOutOfMemory() {
        guard launch.mode == .create else { return }
        _ = try? Descriptor.open("\(launch.bundle)/oom", O_WRONLY | O_CREAT, mode: 0o644)
    }

    /// Leaves nothing that runs; the container's process on this host ends last, for then engines act.
    private func end(_ root: StateRoot, _ status: Int32) {
        cleanUp(root)
        standIn?.end(status)
        if let cgroup, directory == nil || record?.status == .creating || !launch.keepsState {
            cgroup.leave()
            ContainerCgroup.remove(cgroup.paths)
        }
    }

    private func cleanUp(_ root: StateRoot) {
        progress?.end()
        streams?.stop()
        machine?.kill()
        console?.restore()
        control = nil
        try? LedgerStore(root).save(ledger.record(id: launch.id))
        guard let directory, var record else { return }
        if launch.keepsState, record.status != .creating {
            directory.removeSockets()
            record.status = .stopped
            try? write(record)
        } else {
            if record.status != .creating, let hooks = try? HookRunner() {
                record.status = .stopped
                hooks.runAll("poststop", self.hooks.poststop, record.state) { log.warning("\($0)") }
            }
            directory.removeOwn()
        }
    }

    // MARK: Signals

    private var interruption: SandboxError? {
        interrupted.map { SandboxError(.interrupted($0), "interrupted by signal \($0)") }
    }

    private func take(_ signal: Int32) {
        if signal == SIGWINCH, console != nil { return resize() }
        guard record?.status == .created || record?.status == .running || record?.status == .paused, exit == nil else {
            return interrupt(signal)
        }
        send(signal)
    }

    /// Before there is a container, and after it, signals that end a program end this one.
    private func interrupt(_ signal: Int32) {
        guard [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGKILL].contains(signal) else { return }
        if interrupted == nil { interrupted = signal }
        if exit == nil, let interruption { machine?.waiter.fail(interruption) }
    }

    private func send(_ signal: Int32) {
        let request = SignalRequest.with {
            $0.containerID = launch.id
            $0.signal = UInt32(signal)
        }
        machine?.callLater(AgentMethods.signal, request, deadline: AgentConnection.shortDeadline) { [weak self] result in
            guard case .failure(let status) = result, status.code == .deadlineExceeded else { return }
            self?.machine?.waiter.fail(SandboxError(.timedOut, "the guest does not take signals: \(status)"))
        }
    }

    private func resize() {
        guard let size = console?.size else { return }
        let request = ResizeConsoleRequest.with {
            $0.containerID = launch.id
            $0.columns = UInt32(size.columns)
            $0.rows = UInt32(size.rows)
        }
        machine?.callLater(AgentMethods.resizeConsole, request, deadline: AgentConnection.shortDeadline) { _ in }
    }
}

// MARK: What other commands ask

extension ContainerMonitor {
    /// Passes a call on to the agent, unless it is about another container.
    func relay<Request, Response>(
        _ method: Method<Request, Response>, _ request: Request, _ id: String, _ deadline: UInt64?,
        _ complete: @escaping (Result<Response, Status>) -> Void
    ) {
        guard id == launch.id, let machine else { return complete(.failure(Status(.notFound, "container \"\(id)\" does not exist"))) }
        machine.callLater(method, request, deadline: deadline, complete)
    }

    func start(_ request: ContainerRequest, _ complete: @escaping (Result<Empty, Status>) -> Void) {
        guard record?.status == .created, starter == nil, exit == nil else {
            let why = record?.status == .stopped || exit != nil ? "cannot start a container that has stopped" : "cannot start an already running container"
            return complete(.failure(Status(.failedPrecondition, why)))
        }
        starter = complete
    }

    func setPaused(_ paused: Bool, _ request: ContainerRequest, _ complete: @escaping (Result<Empty, Status>) -> Void) {
        let (from, to) = paused ? (State.Status.running, State.Status.paused) : (.paused, .running)
        guard record?.status == from else {
            return complete(.failure(Status(.failedPrecondition, "container not \(from.rawValue)")))
        }
        relay(paused ? AgentMethods.pause : AgentMethods.resume, request, request.containerID, AgentConnection.shortDeadline) { [weak self] result in
            if case .success = result, var record = self?.record {
                record.status = to
                try? self?.write(record)
            }
            complete(result)
        }
    }

    /// The guest's limits, and then the host's.
    func update(_ request: UpdateRequest, _ complete: @escaping (Result<Empty, Status>) -> Void) {
        var inGuest = request
        let resources: LinuxResources
        do {
            resources = try JSON.decode(from: Array(request.resources))
            var guestResources = resources
            guestResources.removeHostParts()
            inGuest.resources = .init(try JSON.encode(guestResources).utf8)
        } catch {
            return complete(.failure(Status(.invalidArgument, "\(error)")))
        }
        relay(AgentMethods.update, inGuest, request.containerID, AgentConnection.shortDeadline) { [weak self] result in
            guard case .success = result, let cgroup = self?.cgroup else { return complete(result) }
            do {
                try cgroup.update(resources)
                complete(result)
            } catch {
                complete(.failure((error as? SandboxError)?.status ?? Status(.internal, "\(error)")))
            }
        }
    }

    func exec(_ request: ExecRequest, _ complete: @escaping (Result<ProcessResponse, Status>) -> Void) {
        guard record?.status != .stopped, exit == nil else {
            return complete(.failure(Status(.failedPrecondition, "cannot exec in a stopped container")))
        }
        guard !request.execID.isEmpty, processes.insert(request.execID).inserted else {
            return complete(.failure(Status(.alreadyExists, "process \(request.execID) exists")))
        }
        relay(AgentMethods.exec, request, request.containerID, AgentConnection.longDeadline) { [weak self] result in
            if case .failure = result { self?.forget(request.execID) }
            complete(result)
        }
    }

    func forget(_ process: String) {
        processes.remove(process)
    }

    func kill(_ process: String) {
        forget(process)
        let request = SignalRequest.with {
            $0.containerID = launch.id
            $0.execID = process
            $0.signal = UInt32(SIGKILL)
        }
        machine?.callLater(AgentMethods.signal, request, deadline: AgentConnection.shortDeadline) { _ in }
    }

    /// Exec ids name processes on this host: none is believed that was not given out here.
    func withoutStrangers(_ response: ListProcessesResponse) -> ListProcessesResponse {
        var response = response
        response.processes.removeAll { !$0.execID.isEmpty && !processes.contains($0.execID) }
        return response
    }
}
