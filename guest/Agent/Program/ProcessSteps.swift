import CLinux
import Glibc
import Linux
import OCI

/// What every process does before its program runs, the container's first and those of exec alike: streams,
/// limits, credentials, filter (config.md, process).
struct ProcessSteps {
    var process: Process
    /// Numbers the child inherits, above 2; nil: a null device. Not looked at with a terminal.
    var streams: [Int32?] = []
    /// The agent's null device, likewise.
    var null: Int32 = -1
    /// Further descriptors: their numbers in the program, and those the child inherits, which are higher than all of the former and one.
    var passed: [(number: Int32, source: Int32)] = []
    /// What `HOME` is set to unless the spec sets it.
    var home: String?
    var filter: SeccompFilter?
    /// Argument of personality(2).
    var personality: Int32?
    /// Limits are set by the agent, at a stop.
    var stopsForLimits = false
    /// Stops once everything is set up, until the container is started.
    var waitsForStart = false

    var hasTerminal: Bool { process.terminal }
    var needsNull: Bool { !hasTerminal && streams.contains(nil) }
    private var capabilities: CapabilitySets { CapabilitySets(process.capabilities ?? LinuxCapabilities()) }
    /// Installing a filter takes this capability, or a promise never to gain any.
    private var keepsAdmin: Bool { filter != nil && !process.noNewPrivileges }

    /// The child inherits these, and the agent's null device.
    mutating func take(_ streams: ProcessStreams, null: Descriptor) {
        self.streams = streams.forProcess.map { $0?.raw }
        self.null = null.raw
        passed = streams.passed.map { ($0.number, $0.descriptor.raw) }
    }

    /// A new terminal of the devpts at `/dev/pts`; hands its master to the agent and returns the other end.
    func openTerminal(
        in root: SystemCallProgram.Argument, _ program: inout SystemCallProgram, master: SystemCallProgram.Register, control: Int32
    ) -> SystemCallProgram.Argument {
        let terminal = program.register()
        let flags = O_RDWR | O_NOCTTY | O_NONBLOCK
        program.openInRoot(root, "/dev/pts/ptmx", flags: flags, into: master)
        // TIOCSPTLCK, TIOCGPTPEER (asm-generic/ioctls.h).
        program.call(SYS_ioctl, .register(master), .literal(0x4004_5431), program.words([0]))
        program.call(SYS_ioctl, .register(master), .literal(0x5441), .literal(O_RDWR | O_NOCTTY | O_CLOEXEC), into: terminal)
        program.call(SYS_fchown, .register(terminal), .literal(Int32(bitPattern: process.user.uid)), -1)
        if let size = process.consoleSize {
            let rows = UInt64(UInt16(truncatingIfNeeded: size.height))
            let columns = UInt64(UInt16(truncatingIfNeeded: size.width))
            program.call(SYS_ioctl, .register(terminal), .literal(Int32(TIOCSWINSZ)), program.words([rows | columns << 16]))
        }
        program.stop(at: .terminal, control: control)
        return .register(terminal)
    }

    /// - Parameters:
    ///   - directory: the working directory, nil: where the process is.
    ///   - terminal: what ``openTerminal(in:_:master:control:)`` returned.
    ///   - null: for streams that are nothing; nil: the agent's.
    func emit(
        into program: inout SystemCallProgram, directory: SystemCallProgram.Register?, terminal: SystemCallProgram.Argument?,
        null: SystemCallProgram.Argument? = nil, control: Int32
    ) {
        takeStreams(&program, terminal, null ?? .literal(self.null))
        var control = closeOthers(&program, control)
        schedule(&program)
        setLimits(&program, control)
        changeUser(&program, directory)
        control = takePassed(&program, control)
        program.stage("process.capabilities")
        program.set(capabilities, admin: keepsAdmin)
        for capability in capabilities.raised {
            program.call(SYS_prctl, .literal(PR_CAP_AMBIENT), .literal(PR_CAP_AMBIENT_RAISE), .literal(capability), 0, 0)
        }
        let path = findProgram(&program)
        if process.noNewPrivileges {
            program.stage("noNewPrivileges")
            program.call(SYS_prctl, .literal(PR_SET_NO_NEW_PRIVS), 1, 0, 0, 0)
        }
        if waitsForStart {
            program.stage("wait for start")
            program.stop(at: .created, control: control)
        }
        // The last thing, so that the filter need allow nothing but what the program itself calls, and execve.
        if let filter {
            program.install(filter)
            if keepsAdmin { program.set(capabilities, admin: false) }
        }
        program.stage(Self.executeStage)
        let arguments = program.texts(process.args)
        program.call(SYS_execve, .register(path), arguments, program.texts(environment))
    }

    private func takeStreams(_ program: inout SystemCallProgram, _ terminal: SystemCallProgram.Argument?, _ null: SystemCallProgram.Argument) {
        program.stage("standard streams")
        program.call(SYS_setsid)
        program.call(SYS_rt_sigprocmask, .literal(SIG_SETMASK), program.words([0]), 0, 8)
        for number in 0..<3 {
            let stream = number < streams.count ? streams[number].map { SystemCallProgram.Argument.literal($0) } ?? null : .literal(-1)
            program.call(SYS_dup3, terminal ?? stream, .literal(Int32(number)), 0)
        }
        if terminal != nil { program.call(SYS_ioctl, 0, .literal(Int32(TIOCSCTTY)), 0) }
    }

    /// Nothing of the agent's is open when paths of the container's choosing are walked (CVE-2024-21626).
    ///
    /// - Returns: the control socket's new number.
    private func closeOthers(_ program: inout SystemCallProgram, _ control: Int32) -> Int32 {
        // The working directory is still needed: everything else is closed once it is entered.
        guard control != 3 else { return control }
        program.call(SYS_dup3, .literal(control), 3, .literal(O_CLOEXEC))
        return 3
    }

    private func changeUser(_ program: inout SystemCallProgram, _ directory: SystemCallProgram.Register?) {
        let entered = program.register()
        if let directory {
            program.stage("cwd \(process.cwd)")
            program.call(SYS_fchdir, .register(directory), into: entered, tolerating: [.permissionDenied])
        }
        program.stage("process.capabilities")
        program.keepCapabilities(capabilities)
        let user = process.user
        program.stage("process.user")
        program.call(SYS_setgroups, .literal(Int32(truncatingIfNeeded: user.additionalGids.count)), groups(&program))
        if user.gid != 0 { set(SYS_setresgid, user.gid, &program) }
        if user.uid != 0 {
            program.call(SYS_prctl, .literal(PR_SET_KEEPCAPS), 1)
            set(SYS_setresuid, user.uid, &program)
        }
        program.call(SYS_umask, .literal(Int32(truncatingIfNeeded: user.umask ?? 0o022)))
        if let directory {
            program.stage("cwd \(process.cwd)")
            // Root may have been kept out of a directory that is the user's own.
            program.load(.register(entered), tolerating: [.permissionDenied])
            program.onTolerated { $0.call(SYS_fchdir, .register(directory)) }
        }
    }

    /// Closes all but the standard streams and what is passed, which gets its numbers.
    ///
    /// - Returns: the control socket's new number.
    private func takePassed(_ program: inout SystemCallProgram, _ control: Int32) -> Int32 {
        var next = control + 1
        for source in passed.map(\.source).sorted() {
            if source > next { program.call(SYS_close_range, .literal(next), .literal(source - 1), 0) }
            next = source + 1
        }
        program.call(SYS_close_range, .literal(next), -1, 0)
        guard let last = passed.map(\.number).max() else { return control }
        program.stage("passed descriptors")
        program.call(SYS_dup3, .literal(control), .literal(last + 1), .literal(O_CLOEXEC))
        program.call(SYS_close, .literal(control))
        for (number, source) in passed { program.call(SYS_dup3, .literal(source), .literal(number), 0) }
        program.call(SYS_close_range, .literal(last + 2), -1, 0)
        return last + 1
    }

    private func set(_ call: Int32, _ id: UInt32, _ program: inout SystemCallProgram) {
        let id = SystemCallProgram.Argument.literal(Int32(bitPattern: id))
        program.call(call, id, id, id)
    }

    private func groups(_ program: inout SystemCallProgram) -> SystemCallProgram.Argument {
        let groups = process.user.additionalGids
        return groups.isEmpty ? 0 : program.bytes(groups.flatMap { id in (0..<4).map { UInt8(truncatingIfNeeded: id >> (8 * $0)) } })
    }

    static let executeStage = "execute"
}

extension SystemCallProgram {
    /// Takes `CAP_SYS_ADMIN`, or a promise never to gain any capability.
    mutating func install(_ filter: SeccompFilter) {
        stage("seccomp")
        let code = bytes(filter.code)
        let list = structure([.value(UInt64(filter.code.count / 8)), .address(code)])
        // SECCOMP_SET_MODE_FILTER
        call(SYS_seccomp, 1, .literal(Int32(bitPattern: filter.flags)), list)
    }

    /// Takes all but these out of the bounding set: at once by our kernel (kernel-config/patches), one by one by others.
    fileprivate mutating func keepCapabilities(_ capabilities: CapabilitySets) {
        if capabilities.dropped.isEmpty { return }
        let kept = capabilities.bounding
        let halves = [UInt32(truncatingIfNeeded: kept), UInt32(truncatingIfNeeded: kept >> 32)].map { Argument.literal(Int32(bitPattern: $0)) }
        call(SYS_prctl, .literal(PR_CAPBSET_DROP), -1, halves[0], halves[1], tolerating: [.invalidArgument])
        onTolerated {
            for capability in capabilities.dropped {
                $0.call(SYS_prctl, .literal(PR_CAPBSET_DROP), .literal(capability), tolerating: [.invalidArgument])
            }
        }
    }

    /// capset(2) of the calling thread, with `CAP_SYS_ADMIN` kept for a little longer if asked for.
    fileprivate mutating func set(_ capabilities: CapabilitySets, admin: Bool) {
        let extra: UInt64 = admin ? 1 << 21 : 0
        let sets = [capabilities.effective | extra, capabilities.permitted | extra, capabilities.inheritable]
        let low = sets.map { $0 & 0xffff_ffff }
        let high = sets.map { $0 >> 32 }
        // _LINUX_CAPABILITY_VERSION_3, pid 0; then effective, permitted, inheritable of either half.
        let data = words([low[0] | low[1] << 32, low[2] | high[0] << 32, high[1] | high[2] << 32])
        call(SYS_capset, words([0x2008_0522]), data)
    }
}
