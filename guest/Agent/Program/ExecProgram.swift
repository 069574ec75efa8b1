import CLinux
import Glibc
import Linux
import OCI

/// The system calls of a process that joins a running container.
struct ExecProgram {
    /// The container's init, by pidfd, and the `CLONE_NEW*` namespaces to share with it.
    struct Target: Equatable {
        var pidfd: Int32
        var namespaces: Int32

        var hasUserNamespace: Bool { namespaces & CLONE_NEWUSER != 0 }
    }

    var program = SystemCallProgram()
    let registers: ProgramRegisters

    init(_ steps: ProcessSteps, in target: Target, control: Int32) {
        registers = ProgramRegisters(&program)
        let affinity = steps.process.execCPUAffinity
        if let affinity { ProcessSteps.setAffinity(affinity.initial, &program) }
        enter(target)
        let root = SystemCallProgram.Argument.literal(AT_FDCWD)
        var terminal: SystemCallProgram.Argument?
        if steps.hasTerminal {
            program.stage("terminal")
            terminal = steps.openTerminal(in: root, &program, master: registers.terminal, control: control)
        }
        var directory: SystemCallProgram.Register?
        if steps.process.cwd != "/" {
            program.stage("cwd \(steps.process.cwd)")
            directory = program.register()
            if let directory { program.openInRoot(root, steps.process.cwd, flags: O_PATH | O_DIRECTORY, into: directory) }
        }
        if let affinity { ProcessSteps.setAffinity(affinity.final, &program) }
        steps.emit(into: &program, directory: directory, terminal: terminal, control: control)
    }

    /// A hook's program (config.md, POSIX-platform Hooks): the agent's rights, the container's namespaces.
    ///
    /// - Parameter filter: the container's, if it holds for the hook too.
    init(hook: Hook, input: Int32, null: Int32, in target: Target, filter: SeccompFilter? = nil) {
        registers = ProgramRegisters(&program)
        enter(target)
        program.stage("start \(hook.path)")
        program.call(SYS_setsid)
        program.call(SYS_rt_sigprocmask, .literal(SIG_SETMASK), program.words([0]), 0, 8)
        for (number, stream) in [input, null, null].enumerated() { program.call(SYS_dup3, .literal(stream), .literal(Int32(number)), 0) }
        program.call(SYS_close_range, 3, -1, .literal(Int32(CLOSE_RANGE_CLOEXEC)))
        program.call(SYS_umask, 0o022)
        if let filter {
            program.install(filter)
            program.stage("start \(hook.path)")
        }
        let arguments = program.texts(hook.args.isEmpty ? [hook.path] : hook.args)
        program.call(SYS_execve, program.text(hook.path), arguments, program.texts(hook.env ?? []))
    }

    private mutating func enter(_ target: Target) {
        program.stage("enter container")
        program.call(SYS_setns, .literal(target.pidfd), .literal(target.namespaces))
        // setns(2) leaves the ids as they are, which may be nobody's there.
        if target.hasUserNamespace { becomeRoot(&program) }
    }
}
