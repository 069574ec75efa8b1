import CLinux
import Glibc
import Linux
import OCI

/// Runs hooks one after the other in a container's namespaces (config.md, POSIX-platform Hooks).
final class HookRun {
    private let hooks: [Hook]
    private let name: String
    private let target: ExecProgram.Target
    private let filter: SeccompFilter?
    private let pidNamespace: Descriptor?
    private let state: Descriptor
    private let context: AgentContext
    private let complete: (LaunchFailure?) -> Void

    /// Calls `complete` after the last one, or the first that fails.
    ///
    /// - Parameters:
    ///   - filter: of system calls, which holds for them.
    ///   - state: what each gets on standard input.
    static func run(
        _ hooks: [Hook], _ name: String, in target: ExecProgram.Target, pidNamespace: Descriptor?, filter: SeccompFilter? = nil, state: OCI.State,
        _ context: AgentContext, _ complete: @escaping (LaunchFailure?) -> Void
    ) {
        if hooks.isEmpty { return complete(nil) }
        do {
            let text = (try? JSON.encode(state)) ?? "{}"
            // A file, not a pipe: nobody has to feed it.
            let file = try makeMemoryFile("state", count: 0)
            try file.writeAll(text)
            HookRun(hooks, name, target, pidNamespace, filter, file, context, complete).next(0)
        } catch {
            complete(LaunchFailure(error, in: name))
        }
    }

    private init(
        _ hooks: [Hook], _ name: String, _ target: ExecProgram.Target, _ pidNamespace: Descriptor?,
        _ filter: SeccompFilter?, _ state: Descriptor, _ context: AgentContext, _ complete: @escaping (LaunchFailure?) -> Void
    ) {
        self.hooks = hooks
        self.name = name
        self.target = target
        self.pidNamespace = pidNamespace
        self.filter = filter
        self.state = state
        self.context = context
        self.complete = complete
    }

    private func next(_ index: Int) {
        guard index < hooks.count else { return complete(nil) }
        let hook = hooks[index]
        // "error running hook": runc's words.
        let stage = "error running hook hooks.\(name)[\(index)] \(hook.path)"
        do {
            lseek(state.raw, 0, SEEK_SET)
            var program: ExecProgram?
            let process = try context.inPIDNamespace(pidNamespace) { () throws(SystemError) in
                try ProgramProcess { _ in
                    let made = ExecProgram(hook: hook, input: self.state.raw, null: self.context.null.raw, in: self.target, filter: self.filter)
                    program = made
                    return made.program
                }
            }
            guard let program else { return }
            try watch(process, program, hook, stage, index)
        } catch {
            complete(LaunchFailure(error, in: stage))
        }
    }

    private func watch(_ process: ProgramProcess, _ program: ExecProgram, _ hook: Hook, _ stage: String, _ index: Int) throws(SystemError) {
        var failure: LaunchFailure?
        let deadline = UInt64(clamping: hook.timeout ?? 60).multipliedClamping(by: 1_000_000_000)
        let timer = context.loop.schedule(afterNanoseconds: deadline) {
            failure = LaunchFailure(stage, .timedOut)
            kill(process.pid, SIGKILL)
        }
        let launch = try Launch(process, program.registers, on: context.loop, deadline: deadline) { _, _ in
        } onEnd: { _, reason in
            if failure == nil, let reason { failure = LaunchFailure(stage, reason.errno, detail: reason.stage) }
        }
        try context.reaper.watch(process.pid, process.pidfd) { [context] end in
            context.loop.cancel(timer)
            launch.drain()
            switch end {
            case .exited(0) where failure == nil: self.next(index + 1)
            case .exited(let code): self.complete(failure ?? LaunchFailure(stage, .canceled, detail: "exit status \(code)"))
            case .signalled(let signal): self.complete(failure ?? LaunchFailure(stage, .canceled, detail: signalText(signal)))
            }
        }
    }
}

extension UInt64 {
    func multipliedClamping(by other: UInt64) -> UInt64 {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? .max : product
    }
}
