import Glibc
import Linux

/// How a sandbox's machine ended.
public struct MachineEnd: Error, Sendable, Equatable {
    public enum Reason: String, Sendable {
        case powerOff = "power-off"
        case reset
        case panic
        case tripleFault = "triple-fault"
        case stopped
        case error
        /// The kernel file is none, or needs more memory.
        case kernel
        /// The snapshot cannot be restored here.
        case snapshot
        /// Not the guest: the monitor process itself was killed or failed.
        case monitor
    }

    public let reason: Reason
    /// What the monitor said, for `error` and `monitor`.
    public let text: String
}

/// The process that runs one virtual machine. It gets open files and numbers; no path but its vsock socket's.
///
/// The machine ends when this process does: its control socket closes, and the kernel kills it with the thread that started it.
final class VMMProcess {
    struct Options {
        var size: MachineSize
        /// As many as a machine restored from this one's snapshot may have.
        var possibleCPUs: Int?
        /// Bytes that the guest plugs in when it goes on from a snapshot.
        var extraMemory = 0
        var program: String
        var kernel: Descriptor
        var image: Descriptor
        var commandLine: String
        var shares: [(share: Plan.Share, root: Descriptor)]
        var shareCache: ShareCache
        /// Listening Unix socket for connections into the guest.
        var vsock: Descriptor
        /// Connections out of the guest to port P go to the Unix socket of this name followed by `_P`, in ``directory``.
        var vsockName: String
        /// Holds nothing but the guest's sockets: all the VMM sees of the host's file system.
        var directory: Descriptor
        var console: Descriptor
        /// Nil: the VMM finds out.
        var softwareKVM: Bool?
        /// The directory of a snapshot to go on from; nil: boot.
        var snapshot: Descriptor?
        var workingSet: WorkingSet.Use?
        /// The one that was saved against, if it was.
        var base: Descriptor?
    }

    private static let messageLimit = 4096
    /// More of its standard error is not kept: it is a line or two.
    private static let errorLimit = 4096

    private let loop: EventLoop
    /// Nil: another process's, which sees to its end (``PoolKeeper``).
    private let child: ChildProcess?
    private let pidfd: Descriptor
    private let control: Descriptor
    private let errors: Descriptor
    private var errorText: [UInt8] = []
    private var reported: MachineEnd?
    /// Who waits for the answers to requests, in order.
    private var unanswered: [(Result<String, SandboxError>) -> Void] = []
    /// When the monitor had done what, by the monotonic clock.
    struct StartTimes {
        /// Its first instruction.
        var began: UInt64
        /// It was in its jail.
        var jailed: UInt64
        /// The kernel or snapshot was loaded.
        var loaded: UInt64
        /// The guest's first instruction.
        var started: UInt64
    }

    /// Called at the first KVM_RUN.
    var onStarted: ((StartTimes) -> Void)?
    /// Called once, when the process is gone.
    var onEnd: ((MachineEnd) -> Void)?

    init(_ options: Options, on loop: EventLoop) throws {
        self.loop = loop
        let (ours, theirs) = try Descriptor.messageSocketPair()
        let (reading, writing) = try Descriptor.pipe()
        var arguments = [
            "microvm-vmm", "--cpus", "\(options.size.cpus)", "--memory", "\(options.size.memory)", "--kernel-fd", "\(options.kernel.raw)",
            "--image-fd", "\(options.image.raw)", "--control-fd", "\(theirs.raw)", "--vsock-fd", "\(options.vsock.raw)",
            "--vsock-path", options.vsockName, "--directory-fd", "\(options.directory.raw)", "--console-fd", "\(options.console.raw)",
            "--kill-with-parent", "--jail",
        ]
        if !options.commandLine.isEmpty { arguments += ["--cmdline", options.commandLine] }
        if let software = options.softwareKVM { arguments += ["--host-kind", software ? "software" : "hardware"] }
        if let snapshot = options.snapshot { arguments += ["--restore-fd", "\(snapshot.raw)"] }
        switch options.workingSet {
        case .record: arguments.append("--watch-memory")
        case .follow(let set) where !set.writtenRuns.isEmpty: arguments += ["--prefault", set.writtenRuns]
        case .follow, nil: break
        }
        if let cpus = options.possibleCPUs { arguments += ["--possible-cpus", "\(cpus)"] }
        if options.extraMemory > 0 { arguments += ["--extra-memory", "\(options.extraMemory)"] }
        if let base = options.base { arguments += ["--base-fd", "\(base.raw)"] }
        for (share, root) in options.shares {
            arguments += ["--share", "\(share.name):\(root.raw):\(share.mode(options.shareCache).joined(separator: ":"))"]
        }
        var process = ChildProcess.Options()
        process.standardError = writing
        process.diesWithParent = true
        process.inherited = [options.kernel, options.image, theirs, options.vsock, options.console, options.directory] + options.shares.map(\.root)
        process.inherited += [options.snapshot, options.base].compactMap { $0 }
        let child: ChildProcess
        do throws(SystemError) { child = try ChildProcess(options.program, arguments, process) } catch {
            throw SandboxError(.missing(error.errno), "\(options.program): \(error.errno)")
        }
        self.child = child
        pidfd = child.pidfd
        control = ours
        errors = reading
        try control.setNonBlocking()
        try errors.setNonBlocking()
        try listen()
    }

    /// Goes on with one that another process started and has let go of.
    init(_ machine: HandedMachine, on loop: EventLoop) throws {
        self.loop = loop
        child = nil
        pidfd = machine.pidfd
        control = machine.control
        errors = machine.errors
        try listen()
    }

    private func listen() throws(SystemError) {
        try loop.add(control, .readable) { [weak self] _ in self?.receive() }
        try loop.add(errors, .readable) { [weak self] _ in self?.collectErrors() }
        try loop.add(pidfd, .readable) { [weak self] _ in self?.finish() }
    }

    deinit { leaveLoop() }

    private func leaveLoop() {
        for descriptor in [control, errors, pidfd] { loop.remove(descriptor) }
    }

    /// Lets go of it for another process to go on with; its end is the caller's to see. Nil while an answer is to come.
    func handOver() -> (child: ChildProcess, control: Descriptor, errors: Descriptor)? {
        guard let child, unanswered.isEmpty else { return nil }
        leaveLoop()
        return (child, control, errors)
    }

    /// Ends the machine at once.
    func kill() {
        if let child { child.kill() } else { try? ProcessHandle(pidfd).send(SIGKILL) }
    }

    /// Sends a request of `microvm-vmm`'s control socket; `complete` is called once, with the text of its answer.
    func request(_ text: String, passing descriptors: [Descriptor] = [], _ complete: @escaping (Result<String, SandboxError>) -> Void) {
        do throws(SystemError) {
            try control.send(Array(text.utf8), passing: descriptors)
            unanswered.append(complete)
        } catch {
            complete(.failure(SandboxError(.monitorEnded, "virtual machine monitor: \(error)")))
        }
    }

    private func receive() {
        do throws(SystemError) {
            let message = try control.receive(limit: Self.messageLimit).bytes
            // Its end closed; the pidfd tells the rest.
            if message.isEmpty { loop.remove(control) }
            handle(message)
        } catch {
            if error.errno != .wouldBlock { loop.remove(control) }
        }
    }

    /// `ok[ TEXT]` or `error TEXT`, an answer; `event started STARTED BEGAN JAILED LOADED` or `event ended REASON[ TEXT]`.
    private func handle(_ message: [UInt8]) {
        let text = String(decoding: message, as: UTF8.self)
        let words = text.split(separator: " ", maxSplits: 3).map(String.init)
        switch (words.first, words.dropFirst().first) {
        case ("ok", _): answer(.success(String(text.dropFirst(3))))
        case ("error", _): answer(.failure(SandboxError(.refused, String(text.dropFirst(6)))))
        case ("event", "started"):
            let times = text.split(separator: " ").dropFirst(2).compactMap { UInt64($0) }
            if times.count == 4 { onStarted?(StartTimes(began: times[1], jailed: times[2], loaded: times[3], started: times[0])) }
        case ("event", "ended"):
            guard words.count > 2 else { return }
            reported = MachineEnd(reason: MachineEnd.Reason(rawValue: words[2]) ?? .error, text: words.count > 3 ? words[3] : "")
        default: break
        }
    }

    private func answer(_ result: Result<String, SandboxError>) {
        guard !unanswered.isEmpty else { return }
        unanswered.removeFirst()(result)
    }

    private func collectErrors() {
        guard let bytes = try? errors.read(upTo: Self.errorLimit), !bytes.isEmpty else { return loop.remove(errors) }
        errorText += bytes.prefix(max(0, Self.errorLimit - errorText.count))
    }

    private func finish() {
        guard let onEnd else { return }
        self.onEnd = nil
        leaveLoop()
        // What it said last may not have been read yet.
        while let message = try? control.receive(limit: Self.messageLimit).bytes, !message.isEmpty { handle(message) }
        while let bytes = try? errors.read(upTo: Self.errorLimit), !bytes.isEmpty, errorText.count < Self.errorLimit { errorText += bytes }
        onEnd(reported ?? ended(child?.reap()))
        while !unanswered.isEmpty { answer(.failure(SandboxError(.monitorEnded, "the virtual machine monitor ended"))) }
    }

    /// By exit status, for a VMM that could not say it.
    private func ended(_ end: ProcessEnd?) -> MachineEnd {
        let text = String(decoding: errorText, as: UTF8.self).split(separator: "\n").first.map(String.init) ?? ""
        switch end {
        case .exited(0): return MachineEnd(reason: .powerOff, text: "")
        case .exited(4): return MachineEnd(reason: .panic, text: text)
        case .exited(5): return MachineEnd(reason: .reset, text: text)
        case .exited(6): return MachineEnd(reason: .tripleFault, text: text)
        case .exited(7): return MachineEnd(reason: .kernel, text: text)
        case .exited(8): return MachineEnd(reason: .snapshot, text: text)
        case .exited(let status): return MachineEnd(reason: .error, text: text.isEmpty ? "exit status \(status)" : text)
        case .signalled(let signal): return MachineEnd(reason: .monitor, text: "killed by signal \(signal)")
        case nil: return MachineEnd(reason: .monitor, text: "gone")
        }
    }
}
