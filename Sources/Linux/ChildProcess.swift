import CLinux
import Glibc

/// How a process ended.
public enum ProcessEnd: Equatable, Sendable {
    case exited(Int32)
    case signalled(Int32)
}

/// A program started in a session of its own with just the descriptors it is given.
public final class ChildProcess {
    /// What the program gets.
    public struct Options {
        public var environment: [String] = []
        /// Its standard streams; nil is `/dev/null`. Numbers above 2.
        public var standardInput: Descriptor?
        public var standardOutput: Descriptor?
        public var standardError: Descriptor?
        /// Further descriptors, which keep their numbers.
        public var inherited: [Descriptor] = []
        /// Ends with `SIGKILL` when the thread that started it ends.
        public var diesWithParent = false
        /// `CLONE_NEW*`: namespaces it is born in.
        public var namespaces: Int32 = 0
        /// A process, by pidfd, whose namespaces it joins, and which: `CLONE_NEW*`. In a user namespace it is root.
        public var joined: (process: Descriptor, namespaces: Int32)?
        /// Where it starts, in its namespaces; nil: where this process is.
        public var directory: String?
        /// Its parent is this process's own, which reaps it; see ``ProgramProcess/Options/isSibling``.
        public var isSibling = false

        public init() {}
    }

    public let pid: Int32
    /// Readable once the program has ended.
    public let pidfd: Descriptor
    /// Set by ``reap()``.
    public private(set) var end: ProcessEnd?
    private var released = false

    /// Starts `path` with `arguments` (the first is its own name).
    ///
    /// - Throws: also what `execve` answered.
    public init(_ path: String, _ arguments: [String], _ options: Options) throws(SystemError) {
        let null = try Descriptor.open("/dev/null", O_RDWR)
        let streams = [options.standardInput ?? null, options.standardOutput ?? null, options.standardError ?? null]
        var birth = ProgramProcess.Options(namespaces: UInt64(UInt32(bitPattern: options.namespaces)))
        birth.isSibling = options.isSibling
        released = options.isSibling
        let process = try ProgramProcess(birth) { _ in Self.program(path, arguments, streams, options) }
        pid = process.pid
        pidfd = process.pidfd
        // Closed by execve, or by the child's end when it came to none.
        let notice = try? process.control.read(upTo: 1)
        if let failure = process.failure {
            reap()
            throw failure
        }
        if notice != nil { process.release() }
    }

    deinit {
        if released { return }
        kill()
        reap()
    }

    /// Lets the program outlive its owner: whoever adopts orphans here reaps it.
    public func release() {
        released = true
    }

    /// Ends the program if it has not ended. Never fails: a process that is gone needs no killing.
    public func kill() {
        guard end == nil else { return }
        _ = Glibc.kill(pid, SIGKILL)
    }

    /// As ``kill()``, with the programs it has started in its session's first process group.
    public func killGroup() {
        guard end == nil else { return }
        _ = Glibc.kill(-pid, SIGKILL)
    }

    /// Waits for the end and takes the exit status; later calls return it again.
    @discardableResult
    public func reap() -> ProcessEnd? {
        var status: Int32 = 0
        while end == nil {
            let result = unsafe waitpid(pid, &status, 0)
            if result == pid {
                end = status & 0x7f == 0 ? .exited(status >> 8 & 0xff) : .signalled(status & 0x7f)
            } else if errno != EINTR {
                break
            }
        }
        return end
    }

    private static func enter(_ options: Options, _ program: inout SystemCallProgram) {
        let process = SystemCallProgram.Argument.literal(options.joined?.process.raw ?? -1)
        let namespaces = options.joined?.namespaces ?? 0
        program.stage("join namespaces")
        if namespaces & CLONE_NEWNS != 0 { program.call(SYS_setns, process, .literal(CLONE_NEWNS)) }
        // As one of another user namespace it may have no right to.
        if let directory = options.directory {
            program.stage("enter \(directory)")
            program.call(SYS_chdir, program.text(directory))
        }
        program.stage("join namespaces")
        if namespaces & ~CLONE_NEWNS != 0 { program.call(SYS_setns, process, .literal(namespaces & ~CLONE_NEWNS)) }
        if namespaces & CLONE_NEWUSER != 0 {
            program.call(SYS_setresgid, 0, 0, 0)
            program.call(SYS_setresuid, 0, 0, 0)
        }
    }

    private static func program(
        _ path: String, _ arguments: [String], _ streams: [Descriptor], _ options: Options
    ) -> SystemCallProgram {
        var program = SystemCallProgram()
        enter(options, &program)
        program.stage("start \(path)")
        program.call(SYS_setsid)
        if options.diesWithParent { program.call(SYS_prctl, .literal(PR_SET_PDEATHSIG), .literal(SIGKILL)) }
        // Signals the parent takes by signalfd are blocked here too.
        program.call(SYS_rt_sigprocmask, .literal(SIG_SETMASK), program.words([0]), 0, 8)
        for (number, stream) in streams.enumerated() {
            program.call(SYS_dup2, .literal(stream.raw), .literal(Int32(number)))
        }
        // Engines leak descriptors into the runtime; they must not live on in the child.
        program.call(SYS_close_range, 3, .literal(-1), .literal(Int32(CLOSE_RANGE_CLOEXEC)))
        for descriptor in options.inherited {
            program.call(SYS_fcntl, .literal(descriptor.raw), .literal(F_SETFD), 0)
        }
        let argv = program.texts(arguments)
        let envp = program.texts(options.environment)
        program.call(SYS_execve, program.text(path), argv, envp)
        return program
    }
}
