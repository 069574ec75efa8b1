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

        public init() {}
    }

    /// From the first instruction to the agent. A cold boot on a busy software KVM takes half a minute.
    private static let bootDeadline: UInt64 = 120_000_000_000
    private static let powerOffDeadline: UInt64 = 5_000_000_000
    /// How long a lost agent waits for the reason, which the VMM may be about to tell.
    private static let reasonDelay: UInt64 = 1_000_000_000
    static let vsockName = "vsock.sock"
    private static let consoleName = "console.log"

    let loop: EventLoop
    private let directory: StateDirectory
    private var vmm: VMMProcess?
    private var agent: AgentConnection?
    private var listener: Descriptor?
    /// Fails when the machine has ended, or cannot be used any more.
    let waiter: Waiter
    private(set) var end: MachineEnd?
    private var consoleFile: Descriptor?

    public init(_ directory: StateDirectory, on loop: EventLoop) {
        self.directory = directory
        self.loop = loop
        waiter = Waiter(loop)
    }

    /// Path of the Unix socket that leads into the guest.
    public var vsockPath: String { directory.guestSocketPath(Self.vsockName) }
    private var agentSocketName: String { "\(Self.vsockName)_\(AgentAddress.rpcPort)" }

    // MARK: Start

    /// Starts the VMM. ``waitForAgent(_:)`` is next.
    ///
    /// - Parameter onStarted: called with the moment of the guest's first instruction.
    func launch(_ plan: Plan, _ options: Options, onStarted: @escaping (UInt64) -> Void) throws {
        let installation = try Installation(vmm: options.vmm, kernel: options.kernel, image: options.image)
        let (kernel, image) = try installation.open()
        let roots = try plan.shares.map { share in (share: share, root: try Self.openRoot(share)) }
        let agentListener = try Descriptor.listening(at: .unix(directory.guestSocketPath(agentSocketName)))
        try agentListener.setNonBlocking()
        try loop.add(agentListener, .readable) { [weak self] _ in self?.acceptAgent() }
        listener = agentListener
        let vmm = try VMMProcess(
            VMMProcess.Options(
                size: plan.size, program: installation.vmm, kernel: kernel, image: image, commandLine: options.kernelArguments,
                shares: roots, vsock: try Descriptor.listening(at: .unix(vsockPath)), vsockName: Self.vsockName,
                directory: directory.guestSockets,
                console: try openConsole(options.console), softwareKVM: options.softwareKVM),
            on: loop)
        vmm.onStarted = onStarted
        vmm.onEnd = { [weak self] in self?.machineEnded($0) }
        self.vmm = vmm
    }

    /// Waits for the agent's call and shakes hands.
    func waitForAgent(build: String) throws -> ConnectResponse {
        try waiter.wait("the guest to start", atMost: Self.bootDeadline) { agent != nil }
        guard let agent else { throw SandboxError(.agentLost, "no agent") }
        var answer: Result<Void, Status>?
        agent.shakeHands(build: build) { answer = $0 }
        try waiter.wait("the guest's agent", atMost: AgentConnection.longDeadline) { answer != nil }
        if case .failure(let status) = answer { throw waiter.failure ?? SandboxError(.agentLost, "the guest's agent: \(status)") }
        return agent.information
    }

    private static func openRoot(_ share: Plan.Share) throws(SandboxError) -> Descriptor {
        do throws(SystemError) { return try Descriptor.openPath(share.path) } catch {
            throw SandboxError(.missing(error.errno), "\(share.field): \(share.path): \(error.errno)")
        }
    }

    private func openConsole(_ destination: String?) throws(SandboxError) -> Descriptor {
        do throws(SystemError) {
            if destination == "-" { return try Descriptor.standardError.duplicate() }
            let file = try destination.map { path throws(SystemError) in
                try Descriptor.open(path, O_WRONLY | O_CREAT | O_NOCTTY | O_NONBLOCK, mode: 0o600)
            }
            if let file { return file }
            let log = try Descriptor.open(Self.consoleName, O_RDWR | O_CREAT, mode: 0o600, at: directory.descriptor)
            consoleFile = log
            return log
        } catch {
            throw SandboxError(.missing(error.errno), "--console \(destination ?? ""): \(error.errno)")
        }
    }

    private func acceptAgent() {
        guard let listener, let socket = try? listener.accept() else { return }
        // The first to call is the agent, before there is any container. Nobody else is listened to.
        loop.remove(listener)
        self.listener = nil
        try? directory.guestSockets.remove(agentSocketName)
        do {
            let agent = try AgentConnection(socket, on: loop)
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

    /// Lets the guest write back what it holds and switch itself off; ends it if it does not.
    func powerOff() {
        guard end == nil, vmm != nil else { return }
        if waiter.failure == nil, agent != nil {
            callLater(AgentMethods.powerOff, Empty(), deadline: Self.powerOffDeadline) { _ in }
            waitForEnd(atMost: Self.powerOffDeadline)
        }
        kill()
    }

    /// Ends the machine now.
    func kill() {
        agent?.onLost = nil
        agent?.close()
        if let listener { loop.remove(listener) }
        listener = nil
        guard end == nil, let vmm else { return }
        vmm.kill()
        waitForEnd(atMost: Self.powerOffDeadline)
    }

    private func waitForEnd(atMost nanoseconds: UInt64) {
        var expired = false
        let timer = loop.schedule(afterNanoseconds: nanoseconds) { expired = true }
        defer { loop.cancel(timer) }
        while end == nil, !expired {
            guard (try? loop.runOnce()) != nil else { return }
        }
    }
}
