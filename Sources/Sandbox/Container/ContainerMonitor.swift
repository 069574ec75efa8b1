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
    var ledger: Ledger
    private var progress: StartProgress?
    private var signals: SignalForwarder?
    private(set) var directory: StateDirectory?
    private(set) var machine: SandboxMachine?
    /// What the machine shows of the host.
    var shares: [Plan.Share] = []
    /// What the guest's agent calls the container; another name than ours where it goes on from a snapshot.
    var guestID: String
    private(set) var standIn: StandIn?
    private var cgroup: ContainerCgroup?
    private var network: SandboxNetwork?
    private var nameServer: NameServerRelay?
    private var spec: Spec?
    private var bandwidth = CPUBandwidth(nil)
    /// The sandbox whose machine this container is in; nil: it has one of its own.
    private(set) var machineOf: String?
    /// Other monitors' containers in this one's machine.
    var members = 0
    private var console: ConsoleSession?
    /// Until they are carried.
    private var passed: [PassedDescriptor] = []
    private(set) var streams: ProcessStreams?
    private var control: ControlService?
    private(set) var record: SandboxRecord?
    var hooks = Hooks()
    /// Who asked for the start, and waits for the answer.
    private var starter: ((Result<Empty, Status>) -> Void)?
    /// The agent's answer to Wait.
    private(set) var exit: Result<WaitResponse, Status>?
    /// Who asked for a snapshot, and waits for it.
    var wanted: WantedSnapshot?
    /// A signal that came before there was a container to take it.
    private var interrupted: Int32?
    /// The container's process on this host was killed.
    private var killed = false
    private var processes: Set<String> = []
    /// Whoever waits for ``onReady``.
    private var creator: Descriptor?
    /// Said once, when the container is created or, for those that start at once, started.
    public var onReady: (() throws -> Void)?
    /// Until ``onReady``: hears what whoever made the container should know.
    public var onWarning: ((String) -> Void)?
    /// Hears of a template being made, which takes as long as a boot.
    public var onTemplate: ((Templates.Progress) -> Void)?
    /// What the container's process on this host exits with when ``run()`` fails.
    public var statusOfError: (any Error) -> Int32 = { _ in 255 }

    /// - Parameters:
    ///   - ledger: with the time since the process began.
    ///   - build: this program's version, told to the agent.
    public init(_ launch: Launch, ledger: Ledger, build: String, log: Logger) throws(SystemError) {
        self.launch = launch
        guestID = launch.id
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
            if let snapshot = launch.snapshot {
                try restore(snapshot, in: root)
                try goOn()
            } else {
                try create(in: root)
                try startWhenAsked()
            }
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

    func begin(_ stage: String, at time: UInt64 = monotonicNanoseconds()) {
        ledger.begin(stage, at: time)
        progress?.stage = stage
        log.debug("\(launch.id): \(stage)")
    }

    // MARK: Create

    private func create(in root: StateRoot) throws {
        passed = try PassedDescriptor.take(launch.passed)
        begin("parse")
        let bundle = try Bundle.load(launch.bundle, config: launch.config)
        for warning in try bundle.spec.validate() { log.debug("\(warning)") }
        let rootfs = try bundle.rootfs()
        hooks = bundle.spec.hooks ?? Hooks()

        begin("plan")
        let shared = SharedMachine.find(bundle.spec.linux, in: root)
        machineOf = shared?.record.id
        var plan = try Plan(
            bundle, rootfs: rootfs, cpus: launch.cpus, memory: launch.memory, softwareKVM: launch.machine.softwareKVM ?? false,
            prefix: shared == nil ? "" : "\(launch.id)-", kind: SourceKind.of,
            submounts: Submounts().writable)
        let terminal = bundle.spec.process?.terminal ?? false
        try checkConsole(terminal)
        let pool = shared == nil ? MachinePool(for: launch, plan.size, in: root, build: build) : nil
        // Before this process goes into the container's cgroup.
        pool?.startIfEmpty(on: loop)

        let directory = try prepare(bundle.spec, bundle.document, bundle: bundle.path, rootfs: rootfs, memory: plan.size.memory, plan.shares, in: root)
        let places = (try? Descriptor.open(rootfs, O_RDONLY | O_DIRECTORY)).map { MountPoints(root: $0) }
        try places?.checkKernelFileSystems(bundle.spec.mounts)
        if bundle.spec.root?.readonly == true, let places {
            // runc and crun make the working directory too.
            let working = Mount(destination: bundle.spec.process?.cwd ?? "/")
            places.make(plan.guestSpec.mounts + [working]) { mount in plan.isFile(mount) }
            // The guest shows device nodes there.
            places.make(plan.guestSpec.mounts + bundle.spec.devices.map { Mount(destination: $0.path, type: "device") }) { mount in
                plan.isFile(mount) || mount.type == "device"
            }
        }
        plan.shares = try seenByHooks(plan.shares)
        let machine = try shared.map { try join($0, plan) } ?? machineStarter(directory, pool).start(plan)
        try standIn?.waitUntilReady(machine.waiter)
        let guestStreams = try openStreams(machine, terminal)
        try runCreateHooks()
        if !hasOwnNetwork { try connectNetwork(machine) }

        begin("create")
        var spec = plan.guestSpec
        spec.hooks?.createContainer.removeAll(where: HookRunner.isOfHost)
        if let groups = try bundle.spec.originalGroups(supplementaryGroups()) { spec.process?.user.additionalGids = groups }
        if launch.listening > 0 { spec.process?.env += ["LISTEN_FDS=\(launch.listening)", "LISTEN_PID=1"] }
        if let shared, let namespaces = bundle.spec.linux?.namespaces { spec.linux?.namespaces = shared.guestNamespaces(namespaces) }
        if terminal, let size = console?.size { spec.process?.consoleSize = Box(height: UInt32(size.rows), width: UInt32(size.columns)) }
        let request = try CreateContainerRequest.with {
            $0.containerID = launch.id
            $0.spec = .init(try JSON.encode(spec).utf8)
            $0.streams = guestStreams
        }
        record?.guestPID = try machine.call(AgentMethods.createContainer, request).pid
        if hasOwnNetwork { try connectNetwork(machine) }
        try limitTime()
        try serve(.created, machine, directory)
    }

    private func join(_ other: SharedMachine, _ plan: Plan) throws -> SandboxMachine {
        begin("join")
        let machine = SandboxMachine(other.directory.machinePlace, on: loop)
        self.machine = machine
        if let interruption { throw interruption }
        try machine.join(other, as: launch.id, plan.shares, launch.machine.shareCache, build: build)
        return machine
    }

    /// What a container has on this host before its machine: a process, a cgroup, a directory.
    func prepare(
        _ spec: Spec, _ config: JSON.Value, bundle: String, rootfs: String, memory: Int, _ shares: [Plan.Share], in root: StateRoot
    ) throws -> StateDirectory {
        self.shares = shares
        self.spec = spec
        bandwidth = CPUBandwidth(spec.linux?.resources?.cpu)
        StateDirectory.sweep(root)
        begin("stand-in")
        let standIn = try standIn(spec)
        var record = SandboxRecord(
            id: launch.id, pid: standIn.pid, monitor: processID(), status: .creating, bundle: bundle, rootfs: rootfs, created: timestamp(wallClockNanoseconds()),
            ociVersion: spec.ociVersion, annotations: spec.annotations, isTransient: !launch.keepsState)
        let cgroup = ContainerCgroup(spec, id: launch.id, memory: memory)
        record.cgroups = cgroup?.paths ?? []
        record.machineOf = machineOf
        let directory = try StateDirectory.create(record, config: config, in: root)
        self.directory = directory
        self.record = record
        try cgroup?.check { warn($0) }
        self.cgroup = cgroup
        try cgroup?.enter(standIn.pid)
        try cgroup?.apply(spec.linux?.resources ?? LinuxResources(), .booting)
        try standIn.enter()
        return directory
    }

    /// From here on the machine's CPU time is the container's: neither booting nor making the container is on its account.
    func limitTime() throws {
        try cgroup?.apply(spec?.linux?.resources ?? LinuxResources(), .running)
    }

    func openStreams(_ machine: SandboxMachine, _ terminal: Bool) throws -> Streams {
        begin("streams")
        var host = try hostStreams(terminal)
        host.passed = passed
        passed = []
        let streams = ProcessStreams(host, on: loop)
        streams.onFirstOutput = { [weak self] in
            self?.begin("program")
            self?.machine?.containerAnswered()
        }
        self.streams = streams
        return try streams.open(vsock: machine.vsockPath)
    }

    /// There is a container: its end is waited for, and other commands are heard.
    func serve(_ status: State.Status, _ machine: SandboxMachine, _ directory: StateDirectory) throws {
        guard var record else { return }
        let whole = ProcessRequest.with { $0.containerID = guestID }
        machine.callLater(AgentMethods.wait, whole, deadline: nil) { [weak self] in self?.exit = $0 }
        record.status = status
        // First: who reads of the container in its directory may ask for something at once.
        control = try ControlService(self, directory, on: loop)
        try write(record)
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
        if record?.status == .creating {
            killed = true
            return interrupt(SIGKILL)
        }
        endAsKilled()
    }

    func endAsKilled() {
        killed = true
        if exit == nil { exit = .success(.with { $0.exitStatus = 128 + UInt32(SIGKILL) }) }
    }

    /// runc's rules.
    func checkConsole(_ terminal: Bool) throws(SandboxError) {
        if launch.consoleSocket != nil, !terminal || launch.mode == .foreground {
            throw SandboxError(.badInput, "cannot use console socket if microvm will not detach or allocate tty")
        }
        if launch.consoleSocket == nil, terminal, launch.mode != .foreground {
            throw SandboxError(.badInput, "cannot allocate tty if microvm will detach without setting console socket")
        }
    }

    private func hostStreams(_ terminal: Bool) throws -> ProcessStreams.Host {
        if let socket = launch.consoleSocket {
            let session = try ConsoleSession.sent(to: socket, size: spec?.process?.consoleSize)
            console = session
            return try session.streams()
        }
        if terminal { console = try ConsoleSession.ofCaller() }
        var host = try ProcessStreams.Host.ofCaller(forGood: launch.mode != .foreground, unlessNull: terminal ? [] : [STDIN_FILENO])
        if terminal { host.standardError = nil }
        return host
    }

    func machineStarter(_ directory: StateDirectory, _ pool: MachinePool? = nil) -> MachineStarter {
        MachineStarter(
            place: directory.machinePlace, loop: loop, options: launch.machine, build: build, name: launch.id, log: log, pool: pool,
            mark: { [weak self] in self?.begin($0, at: $1 ?? monotonicNanoseconds()) },
            report: { [weak self] in self?.tell($0) },
            use: { [weak self] machine in
                self?.machine = machine
                if let interruption = self?.interruption { throw interruption }
            })
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

    /// In the guest the container has a network namespace beside the machine's (``OCI/Spec/hasOwnNetwork``): of a path of this host's, too, which
    /// the guest's spec does not have.
    private var hasOwnNetwork: Bool { Set(spec?.linux?.namespaces.map(\.type) ?? []).isSuperset(of: [.network, .user]) }

    /// Gives the guest the interfaces that its namespace on this host has by now, if it has none yet. Engines make them before
    /// the container is created, by hooks while it is, or before it is started.
    func connectNetwork(_ machine: SandboxMachine) throws {
        // What is in the namespace is the machine's already.
        guard machineOf == nil else { return }
        if network == nil, let pid = record?.pid { network = try SandboxNetwork(ofProcess: pid) }
        guard let network, !network.isJoined else { return }
        let (scan, taps) = try network.join()
        for name in scan.unusable { warn("network interface \(name) is not Ethernet: the container does not get it") }
        guard !taps.isEmpty else { return }
        begin("network")
        let places = try taps.map { try machine.connect($0) }
        var request = scan.request(places: places)
        if let address = try relayNameServer(network, machine) { request.nameServer = .init(address.bytes) }
        if hasOwnNetwork { request.containerID = guestID }
        _ = try machine.call(AgentMethods.configureNetwork, request)
    }

    /// - Returns: where the guest has to listen; nil: the container's name server, if any, is reached by its network.
    private func relayNameServer(_ network: SandboxNetwork, _ machine: SandboxMachine) throws -> IPAddress? {
        guard let spec, let rootfs = record?.rootfs, let address = NameServerRelay.wanted(by: spec, rootfs: rootfs) else { return nil }
        nameServer = try NameServerRelay(
            address, network, datagrams: machine.listener(forPort: AgentAddress.nameServerDatagramPort),
            streams: machine.listener(forPort: AgentAddress.nameServerStreamPort), on: loop)
        return address
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
            // Otherwise nobody had the time to change anything.
            if launch.mode == .create { try connectNetwork(machine) }
            begin("start")
            progress?.end()
            _ = try machine.call(AgentMethods.startContainer, ContainerRequest.with { $0.containerID = launch.id })
            begin("first output")
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

    /// The container runs already, or is paused: it comes from a snapshot.
    private func goOn() throws {
        guard let record else { return }
        if let path = launch.pidFile { try writePIDFile(path, record.pid) }
        progress?.end()
        begin("first output")
        if !hooks.poststart.isEmpty { try HookRunner().run("poststart", hooks.poststart, record.state) }
        if launch.mode == .detached { try ready() }
    }

    private func ready() throws {
        if let creator { loop.remove(creator) }
        creator = nil
        try onReady?()
        onReady = nil
        onWarning = nil
    }

    private func warn(_ text: String) {
        if let onWarning { onWarning(text) } else { log.warning("\(text)") }
    }

    // MARK: End

    private func finish() throws -> Int32 {
        guard let machine, let streams else { throw SandboxError(.guest, "no container") }
        try machine.waiter.wait("the container to end") { exit != nil || wanted != nil }
        while exit == nil, let snapshot = wanted {
            make(snapshot)
            try machine.waiter.wait("the container to end") { exit != nil || wanted != nil }
        }
        guard case .success(let end) = exit else { throw SandboxError(.agentLost, "the guest's agent did not tell how the container ended") }
        let status = Int32(truncatingIfNeeded: end.exitStatus & 0xff)
        if killed {
            machine.kill()
        } else if try !streams.drain(machine.waiter, of: end, unless: { [weak self] in self?.interrupted != nil || self?.killed == true }),
            interrupted == nil, !killed {
            log.warning("the guest did not give all of the container's output")
        }
        begin("end")
        log.debug("\(launch.id): ended with status \(status)")
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
        nameServer = nil
        network?.leave()
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
            $0.containerID = guestID
            $0.signal = UInt32(signal)
        }
        machine?.callLater(AgentMethods.signal, request, deadline: AgentConnection.shortDeadline) { [weak self] result in
            guard case .failure(let status) = result, status.code == .deadlineExceeded else { return }
            self?.machine?.waiter.fail(SandboxError(.timedOut, "the guest does not take signals: \(status)"))
        }
    }

    func resize() {
        guard let size = console?.size else { return }
        let request = ResizeConsoleRequest.with {
            $0.containerID = guestID
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
        _ method: Method<Request, Response>, _ request: Request, _ id: WritableKeyPath<Request, String>, _ deadline: UInt64?,
        _ complete: @escaping (Result<Response, Status>) -> Void
    ) {
        guard request[keyPath: id] == launch.id, let machine else {
            return complete(.failure(Status(.notFound, "container \"\(request[keyPath: id])\" does not exist")))
        }
        var inGuest = request
        inGuest[keyPath: id] = guestID
        machine.callLater(method, inGuest, deadline: deadline, complete)
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
        relay(paused ? AgentMethods.pause : AgentMethods.resume, request, \.containerID, AgentConnection.shortDeadline) { [weak self] result in
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
        var resources: LinuxResources
        do {
            resources = try JSON.decode(from: Array(request.resources))
            bandwidth.complete(&resources.cpu)
            var guestResources = resources
            guestResources.removeHostParts()
            inGuest.resources = .init(try JSON.encode(guestResources).utf8)
        } catch {
            return complete(.failure(Status(.invalidArgument, "\(error)")))
        }
        relay(AgentMethods.update, inGuest, \.containerID, AgentConnection.shortDeadline) { [weak self, resources] result in
            guard case .success = result else { return complete(result) }
            self?.bandwidth.take(resources.cpu)
            guard let cgroup = self?.cgroup else { return complete(result) }
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
        relay(AgentMethods.exec, request, \.containerID, AgentConnection.longDeadline) { [weak self] result in
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
            $0.containerID = guestID
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
