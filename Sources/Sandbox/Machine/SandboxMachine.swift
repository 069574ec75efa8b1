import AgentAPI
import Glibc
public import Linux
import TTRPC

/// One virtual machine with its agent, driven from one thread: calls wait by running the event loop, so signals, the
/// machine's end and other connections are served meanwhile.
public final class SandboxMachine {
    /// What the operator chose.
    public struct Options: Sendable, Codable, Equatable {
        public var vmm: String?
        public var kernel: String?
        public var image: String?
        /// Added to the guest kernel's command line.
        public var kernelArguments = ""
        /// Where the guest's console goes: a file, `-` for standard error, nil for the sandbox's directory.
        public var console: String?
        /// Nil: the VMM finds out.
        public var softwareKVM: Bool?
        public var shareCache = ShareCache.auto
        /// Where templates are kept; nil: ``TemplateStore/defaultPath``.
        public var templates: String?
        /// Boot, even if there is a template.
        public var isCold = false

        public init() {}
    }

    /// From the first instruction to the agent. A cold boot on a busy software KVM takes half a minute, and six seconds more for each
    /// further CPU.
    private static let bootDeadline: UInt64 = 120_000_000_000
    private static let bootDeadlinePerCPU: UInt64 = 12_000_000_000
    private static let restoreDeadline: UInt64 = 20_000_000_000
    /// For a snapshot to be written: at least this, and as long as a slow disk takes for the memory, 32 MB/s.
    private static let snapshotDeadline: UInt64 = 60_000_000_000
    private static let snapshotNanosecondsPerByte: UInt64 = 32
    private static let powerOffDeadline: UInt64 = 5_000_000_000
    /// How long a lost agent waits for the reason, which the VMM may be about to tell.
    private static let reasonDelay: UInt64 = 1_000_000_000
    /// Of Linux (__NEW_UTS_LEN).
    private static let hostNameLimit = 64
    static let vsockName = "vsock.sock"
    static let consoleName = "console.log"

    let loop: EventLoop
    private let place: MachinePlace
    private var vmm: VMMProcess?
    private var agent: AgentConnection?
    private var listener: Descriptor?
    /// Fails when the machine has ended, or cannot be used any more.
    let waiter: Waiter
    private(set) var end: MachineEnd?
    private var consoleFile: Descriptor?
    private var isRestored = false
    /// Of a template's first machine.
    private var recorder: WorkingSetRecorder?
    /// To the monitor whose machine it is, where it is another's.
    private var membership: ControlClient?
    /// What it was launched with; a snapshot needs the same again.
    private(set) var size: MachineSize?
    private(set) var extraMemory = 0

    init(_ place: MachinePlace, on loop: EventLoop) {
        self.place = place
        self.loop = loop
        waiter = Waiter(loop)
    }

    /// Path of the Unix socket that leads into the guest.
    public var vsockPath: String { place.socketPath(Self.vsockName) }
    private var agentSocketName: String { "\(Self.vsockName)_\(AgentAddress.rpcPort)" }

    // MARK: Start

    /// Starts the VMM. ``waitForAgent(build:)`` is next.
    ///
    /// - Parameters:
    ///   - snapshot: the directory of a snapshot of a machine of this size, taken with an idle agent; nil: boot. It may
    ///     have fewer CPUs.
    ///   - workingSet: what to do about the template's; nil: it is no template.
    ///   - base: the snapshot that one was saved against.
    ///   - extraMemory: bytes that the guest plugs in when it goes on. ``waitForMemory()`` waits for that.
    ///   - possibleCPUs: as many as a machine restored from this one's snapshot may have; nil: as this one.
    ///   - onStarted: called when the guest's first instruction is due.
    func launch(
        _ size: MachineSize, _ shares: [Plan.Share], _ options: Options, restoring snapshot: Descriptor? = nil, workingSet: WorkingSet.Use? = nil, base: Descriptor? = nil,
        extraMemory: Int = 0, possibleCPUs: Int? = nil,
        onStarted: @escaping (VMMProcess.StartTimes) -> Void = { _ in }
    ) throws {
        let installation = try Installation(vmm: options.vmm, kernel: options.kernel, image: options.image)
        let (kernel, image) = try installation.open()
        let roots = try shares.map { share in (share: share, root: try Self.openRoot(share)) }
        if snapshot == nil { try listenForAgent() }
        let vmm = try VMMProcess(
            VMMProcess.Options(
                size: size, possibleCPUs: possibleCPUs, extraMemory: extraMemory, program: installation.vmm, kernel: kernel, image: image, commandLine: options.kernelArguments,
                shares: roots, shareCache: options.shareCache, vsock: try Descriptor.listening(at: .unix(vsockPath)), vsockName: Self.vsockName, directory: place.sockets,
                console: try openConsole(options.console), softwareKVM: options.softwareKVM, snapshot: snapshot, workingSet: workingSet, base: base),
            on: loop)
        vmm.onStarted = onStarted
        vmm.onEnd = { [weak self] in self?.machineEnded($0) }
        self.vmm = vmm
        isRestored = snapshot != nil
        if case .record = workingSet, let snapshot { recorder = WorkingSetRecorder(snapshot, vmm) }
        self.size = size
        self.extraMemory = extraMemory
        if isRestored { try dialAgent() }
    }

    /// Waits for the agent's call, or its answer to ours, shakes hands, and gives the guest entropy, the time of day and a name: a
    /// restored one is different from its template's others by then, and one that took long to boot is not late.
    ///
    /// - Parameter name: the guest's host name, which containers have that ask for none; empty: as it is.
    @discardableResult
    func waitForAgent(build: String, name: String = "", onAnswer: () -> Void = {}) throws -> ConnectResponse {
        let boot = Self.bootDeadline + UInt64(max(0, (size?.cpus ?? 1) - 1)) * Self.bootDeadlinePerCPU
        try waiter.wait("the guest to start", atMost: isRestored ? Self.restoreDeadline : boot) { agent != nil }
        guard let agent else { throw SandboxError(.agentLost, "no agent") }
        recorder?.agentAnswered()
        onAnswer()
        try waitForAnswers([{ agent.shakeHands(build: build, Self.answer($0)) }, { try self.renew(name, $0) }])
        return agent.information
    }

    private typealias Done = (Result<Void, SandboxError>) -> Void

    /// Makes all requests at once, and waits until each is answered.
    private func waitForAnswers(_ requests: [(@escaping Done) throws -> Void], atMost deadline: UInt64 = AgentConnection.longDeadline) throws {
        var answers: [Result<Void, SandboxError>] = []
        for request in requests { try request { answers.append($0) } }
        try waiter.wait("the guest's agent", atMost: deadline) { answers.count == requests.count }
        for case .failure(let error) in answers { throw waiter.failure ?? error }
    }

    private func renew(_ name: String, _ done: @escaping Done) throws {
        try agent?.renew(hostName: String(name.prefix(Self.hostNameLimit)), cpus: isRestored ? size?.cpus ?? 0 : 0, Self.answer(done))
    }

    private static func answer<Response>(_ done: @escaping Done) -> (Result<Response, Status>) -> Void {
        { done($0.map { _ in }.mapError { SandboxError(.agentLost, "the guest's agent: \($0)") }) }
    }

    // MARK: From hand to hand

    /// Lets go of the machine for another process to go on with; its end is the caller's to see. Nil if that cannot be now.
    func handOver() -> (machine: HandedMachine, child: ChildProcess)? {
        guard end == nil, waiter.failure == nil, let (socket, nextStream) = agent?.handOver(), let (child, control, errors) = vmm?.handOver() else { return nil }
        (vmm, agent) = (nil, nil)
        return (HandedMachine(pid: child.pid, nextStream: nextStream, pidfd: child.pidfd, control: control, errors: errors, agent: socket), child)
    }

    /// Goes on with a machine whose files are in this one's place by now. It gets what others get at their start: files, entropy, the time of day, a name.
    func takeOver(_ machine: HandedMachine, _ size: MachineSize, _ shares: [Plan.Share], _ cache: ShareCache, name: String) throws {
        let vmm = try VMMProcess(machine, on: loop)
        vmm.onEnd = { [weak self] in self?.machineEnded($0) }
        self.vmm = vmm
        self.size = size
        isRestored = true
        consoleFile = try? Descriptor.open(Self.consoleName, O_RDONLY, at: place.directory)
        talk(over: machine.agent, nextStream: machine.nextStream)
        let shown = shares.map { share in
            { (done: @escaping Done) in self.shareLater(share.name, try Self.openRoot(share), share.mode(cache)) { done($0.map { _ in }) } }
        }
        try waitForAnswers(shown + [{ try self.renew(name, $0) }], atMost: Self.restoreDeadline)
    }

    /// Goes into the machine of another sandbox, with a connection of its own to the agent. ``kill()`` leaves it again.
    func join(_ other: SharedMachine, as id: String, _ shares: [Plan.Share], _ cache: ShareCache, build: String) throws {
        let monitor = try ControlClient(other.directory)
        membership = monitor
        // A mount whose ids are mapped has no path but this.
        let mapped = try Dictionary(uniqueKeysWithValues: shares.filter { $0.idMap != nil }.map { ($0.name, try Self.openRoot($0)) })
        let request = JoinRequest.with {
            $0.containerID = id
            $0.shares = shares.map { share in
                .with {
                    $0.name = share.name
                    $0.path = mapped[share.name].map { "/proc/\(processID())/fd/\($0.raw)" } ?? share.path
                    $0.mode = share.mode(cache)
                }
            }
        }
        _ = try withExtendedLifetime(mapped) { try monitor.call(MonitorMethods.join, request) }
        try dialAgent()
        try waiter.wait("the guest's agent", atMost: Self.restoreDeadline) { agent != nil }
        try waitForAnswers([{ self.agent?.shakeHands(build: build, Self.answer($0)) }])
    }

    /// A volume is a copy of its mounts, as in a container of runc's: this host may unmount them meanwhile. Copies need rights;
    /// without them the machine keeps the host's own mounts busy.
    private static func openRoot(_ share: Plan.Share) throws(SandboxError) -> Descriptor {
        do throws(SystemError) {
            if let map = share.idMap {
                let copy = try Descriptor.mountTree(share.path, recursive: true)
                try copy.makeMountsPrivate()
                try copy.mapMountIDs(by: IDMapNamespace.make(uids: map.uids.lines, gids: map.gids.lines), recursive: map.isRecursive)
                return copy
            }
            if !share.isRoot, !share.followsMounts, let copy = try? Descriptor.mountTree(share.path, recursive: true) {
                try copy.makeMountsPrivate()
                return copy
            }
            return try Descriptor.openPath(share.path)
        } catch {
            throw SandboxError(.missing(error.errno), "\(share.field): \(share.path): \(share.idMap == nil ? "\(error.errno)" : "\(error)")")
        }
    }

    private func openConsole(_ destination: String?) throws(SandboxError) -> Descriptor {
        do throws(SystemError) {
            if destination == "-" { return try Descriptor.standardError.duplicate() }
            let file = try destination.map { path throws(SystemError) in
                try Descriptor.open(path, O_WRONLY | O_CREAT | O_NOCTTY | O_NONBLOCK, mode: 0o600)
            }
            if let file { return file }
            let log = try Descriptor.open(Self.consoleName, O_RDWR | O_CREAT, mode: 0o600, at: place.directory)
            consoleFile = log
            return log
        } catch {
            throw SandboxError(.missing(error.errno), "--console \(destination ?? ""): \(error.errno)")
        }
    }

    /// Where the guest's connections to a port of the host arrive.
    func listener(forPort port: UInt32) throws(SystemError) -> Descriptor {
        let name = "\(Self.vsockName)_\(port)"
        try? place.sockets.remove(name)
        return try Descriptor.listening(at: .unix(place.socketPath(name)))
    }

    private func listenForAgent() throws {
        let agentListener = try Descriptor.listening(at: .unix(place.socketPath(agentSocketName)))
        try agentListener.setNonBlocking()
        try loop.add(agentListener, .readable) { [weak self] _ in self?.acceptAgent() }
        listener = agentListener
    }

    private func acceptAgent() {
        guard let listener, let socket = try? listener.accept() else { return }
        // The first to call is the agent, before there is any container. Nobody else is listened to.
        loop.remove(listener)
        self.listener = nil
        try? place.sockets.remove(agentSocketName)
        talk(over: socket)
    }

    /// A restored agent made its call in another life; it still listens. The VMM takes ours when it is ready.
    private func dialAgent() throws {
        let socket = try Descriptor.connected(to: .unix(vsockPath))
        try socket.writeAll("CONNECT \(AgentAddress.rpcPort)\n")
        try socket.setNonBlocking()
        try loop.add(socket, .readable) { [weak self] _ in
            // `OK <port>\n`, in one piece; the agent says nothing before it is asked.
            guard let self, let answer = try? socket.read(upTo: 64) else { return }
            loop.remove(socket)
            if answer.starts(with: Array("OK ".utf8)) { talk(over: socket) } else { agentLost("it does not listen") }
        }
    }

    private func talk(over socket: Descriptor, nextStream: UInt32 = 1) {
        do {
            let agent = try AgentConnection(socket, on: loop, nextStream: nextStream)
            agent.onLost = { [weak self] in self?.agentLost($0) }
            self.agent = agent
        } catch {
            waiter.fail(SandboxError(.agentLost, "the guest's agent: \(error)"))
        }
    }

    // MARK: Use

    /// Calls the agent and waits for the answer.
    ///
    /// - Parameter deadline: nanoseconds.
    func call<Request, Response>(
        _ method: Method<Request, Response>, _ request: Request, deadline: UInt64 = AgentConnection.longDeadline
    ) throws -> Response {
        var answer: Result<Response, Status>?
        callLater(method, request, deadline: deadline) { answer = $0 }
        // The client fails the call at its deadline; this one only guards against itself.
        try waiter.wait("\(method.name)", atMost: deadline &+ 1_000_000_000) { answer != nil }
        switch answer {
        case .success(let response): return response
        case .failure(let status): throw waiter.failure ?? SandboxError(status)
        case nil: throw SandboxError(.agentLost, "no answer to \(method.name)")
        }
    }

    /// Calls the agent; `complete` is called once, from the loop.
    func callLater<Request, Response>(
        _ method: Method<Request, Response>, _ request: Request, deadline: UInt64?, _ complete: @escaping (Result<Response, Status>) -> Void
    ) {
        guard let agent else { return complete(.failure(Status(.unavailable, "the guest's agent is not there"))) }
        agent.call(method, request, deadline: deadline) { [loop] result in
            guard case .failure(let status) = result, status.code == .unavailable else { return complete(result) }
            // A lost connection does not say why; by then ``waiter`` has heard it.
            loop.schedule(afterNanoseconds: 2 * Self.reasonDelay) { complete(result) }
        }
    }

    /// Ends the conversation with the agent, and returns when it has noticed.
    func hangUp() throws {
        guard let agent else { return }
        var isOver = false
        agent.onLost = { _ in isOver = true }
        try agent.finish()
        try waiter.wait("the guest's agent to hang up", atMost: AgentConnection.shortDeadline) { isOver }
        agent.close()
        self.agent = nil
    }

    /// Writes the machine as it is into an empty directory.
    ///
    /// - Parameter base: a snapshot's directory, only the difference to whose memory is written.
    func save(to directory: Descriptor, since base: Descriptor? = nil) throws {
        try request("snapshot", passing: [directory] + (base.map { [$0] } ?? []), atMost: Self.snapshotDeadline + UInt64((size?.memory ?? 0) + extraMemory) * Self.snapshotNanosecondsPerByte)
    }

    /// The container's first output is there, or its end.
    func containerAnswered() { recorder?.containerAnswered() }

    /// Stops every vCPU.
    func pause() throws { try request("pause") }

    func resume() throws { try request("resume") }

    /// Shows the guest a directory while it runs.
    func share(_ name: String, _ root: Descriptor, readOnly: Bool) throws {
        try request("share \(name) \(readOnly ? "ro" : "rw")", passing: [root])
    }

    func unshare(_ name: String) throws {
        try request("unshare \(name)")
    }

    /// Waits until the guest has plugged in all its memory.
    func waitForMemory() throws {
        if extraMemory > 0 { try request("plugged", atMost: 2 * AgentConnection.shortDeadline) }
    }

    /// As ``share(_:_:readOnly:)``, without waiting; `mode` are the words of the request.
    func shareLater(_ name: String, _ root: Descriptor, _ mode: [String], _ complete: @escaping (Result<String, SandboxError>) -> Void) {
        guard let vmm else { return complete(.failure(SandboxError(.wrongState, "the container has no machine of its own"))) }
        vmm.request("share \(name) \(mode.joined(separator: " "))", passing: [root], complete)
    }

    func unshareLater(_ name: String) {
        vmm?.request("unshare \(name)") { _ in }
    }

    /// Plugs in a network device whose cable ends in `tap`.
    ///
    /// - Returns: its place among the machine's devices.
    func connect(_ tap: MachineTap) throws -> UInt32 {
        guard let address = tap.interface.address else { return 0 }
        let answer = try request("network \(address) \(min(tap.interface.mtu, UInt32(UInt16.max)))", passing: [tap.descriptor])
        return UInt32(answer) ?? 0
    }

    @discardableResult
    private func request(_ text: String, passing: [Descriptor] = [], atMost deadline: UInt64 = AgentConnection.shortDeadline) throws -> String {
        guard let vmm else { return "" }
        var answer: Result<String, SandboxError>?
        vmm.request(text, passing: passing) { answer = $0 }
        try waiter.wait("the virtual machine monitor", atMost: deadline) { answer != nil }
        return try answer?.get() ?? ""
    }

    // MARK: End

    private func agentLost(_ reason: String) {
        // A machine that ends takes its agent along; which of the two is seen first is chance.
        loop.schedule(afterNanoseconds: Self.reasonDelay) { [weak self] in
            self?.waiter.fail(SandboxError(.agentLost, "the guest's agent is gone: \(reason)"))
        }
    }

    private func machineEnded(_ end: MachineEnd) {
        self.end = end
        waiter.fail(describe(end))
    }

    private func describe(_ end: MachineEnd) -> SandboxError {
        switch end.reason {
        case .powerOff, .stopped: SandboxError(.guestStopped, "the guest switched itself off")
        case .reset: SandboxError(.guestStopped, "the guest reset itself")
        case .tripleFault: SandboxError(.guestStopped, "the guest's CPU stopped in a triple fault")
        case .panic: SandboxError(.guestPanic, "the guest's kernel panicked\(lastWords().map { ": \($0)" } ?? "")")
        case .kernel: SandboxError(.badInput, "--kernel: \(end.text)")
        case .snapshot: SandboxError(.badInput, end.text.hasPrefix("microvm-vmm: ") ? String(end.text.dropFirst(13)) : end.text)
        case .error: SandboxError(.monitorEnded, "virtual machine monitor: \(end.text)")
        case .monitor: SandboxError(.monitorEnded, "the virtual machine monitor ended: \(end.text)")
        }
    }

    /// The line of the console's log that says why.
    private func lastWords() -> String? {
        guard let consoleFile, let size = try? consoleFile.status().st_size,
            let bytes = try? consoleFile.read(upTo: 8192, at: max(0, Int(size) - 8192))
        else { return nil }
        let lines = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline)
        guard let line = lines.last(where: { $0.contains("Kernel panic") }) else { return nil }
        return String(line.drop { $0 != "K" }.unicodeScalars.filter { $0.value >= 0x20 && $0.value < 0x7f }.map(Character.init).prefix(200))
    }

    /// Lets the guest write back what it holds, and ends it then: its kernel's own way down would change nothing any more,
    /// and takes it a tenth of a second where KVM interprets it.
    func powerOff() {
        guard end == nil, vmm != nil else { return }
        containerAnswered()
        if waiter.failure == nil, agent != nil {
            var isWritten = false
            callLater(AgentMethods.powerOff, Empty(), deadline: Self.powerOffDeadline) { _ in isWritten = true }
            wait(atMost: Self.powerOffDeadline) { isWritten && recorder?.isWaiting != true }
        }
        kill()
    }

    /// Ends the machine now.
    func kill() {
        agent?.onLost = nil
        agent?.close()
        if let listener { loop.remove(listener) }
        listener = nil
        _ = try? membership?.call(MonitorMethods.leave, Empty(), deadline: AgentConnection.longDeadline)
        membership = nil
        guard end == nil, let vmm else { return }
        vmm.kill()
        wait(atMost: Self.powerOffDeadline) { false }
    }

    /// Runs the loop until the machine has ended or `isOver`.
    private func wait(atMost nanoseconds: UInt64, until isOver: () -> Bool) {
        var expired = false
        let timer = loop.schedule(afterNanoseconds: nanoseconds) { expired = true }
        defer { loop.cancel(timer) }
        while end == nil, !isOver(), !expired {
            guard (try? loop.runOnce()) != nil else { return }
        }
    }
}
