import AgentAPI
import CLinux
import Glibc
import Linux
import OCI
import TTRPC

extension Containers {
    func exec(_ request: ExecRequest, _ complete: @escaping Answer<UInt32>) {
        let process: OCI.Process
        do {
            process = try JSON.decode(from: Array(request.process))
        } catch {
            return complete(.failure(Status(.invalidArgument, "process: \(error)")))
        }
        claim(request.streams) { [weak self] sockets in
            guard let self else { return }
            do {
                let container = try self.find(request.containerID, otherwise: .failedPrecondition)
                try self.exec(process, request, in: container, sockets.get(), complete)
            } catch {
                complete(.failure(Self.status(error)))
            }
        }
    }

    private func exec(
        _ process: OCI.Process, _ request: ExecRequest, in container: Container, _ sockets: [UInt64: Descriptor],
        _ complete: @escaping Answer<UInt32>
    ) throws {
        let id = request.execID
        guard !id.isEmpty else { throw Status(.invalidArgument, "an exec needs an id") }
        guard container.process(id) == nil else { throw Status(.alreadyExists, "exec \(id) exists") }
        switch container.state {
        case .created, .starting, .running: break
        case .paused: throw Status(.failedPrecondition, "cannot exec in a paused container")
        case .creating, .stopped: throw Status(.failedPrecondition, "container \(container.id) is not running")
        }
        var process = process
        if process.capabilities == nil { process.capabilities = container.process.capabilities }
        let owner = process.user.mapped(container.spec.linux).uid
        let streams = try ProcessStreams(
            request.streams, sockets, isTerminal: process.terminal, owner: owner, on: context.loop)
        var steps = try ProcessSteps(process: process, in: container.spec, home: home(process, container))
        steps.take(streams, null: context.null)
        steps.filter = container.filter
        let (child, program) = try request.cgroup.isEmpty ? spawn(steps, container) : spawn(steps, container, below: request.cgroup)
        streams.releaseProcessEnds()
        let exec = ContainerProcess(execID: id, pid: child.pid, pidfd: child.pidfd, streams: streams)
        container.add(exec)
        try watch(exec, child, program, container, process, complete)
    }

    private func spawn(_ steps: ProcessSteps, _ container: Container) throws(SystemError) -> (ProgramProcess, ExecProgram) {
        do {
            return try spawn(steps, container, in: container.cgroup.directory)
        } catch where error.errno == .resourceBusy {
            // The container delegates (systemd does): no process may be in its own cgroup, so go where init is.
            return try spawn(steps, container, in: cgroupOfInit(container))
        }
    }

    /// In a cgroup below the container's; in runc's words what cannot be.
    private func spawn(_ steps: ProcessSteps, _ container: Container, below name: String) throws -> (ProgramProcess, ExecProgram) {
        var parts: [Substring] = []
        for part in name.split(separator: "/") where part != "." {
            if part != ".." {
                parts.append(part)
            } else if parts.popLast() == nil {
                throw Status(.invalidArgument, "bad sub cgroup path: \(name) is not a sub cgroup path")
            }
        }
        let path = "/" + parts.joined(separator: "/")
        do throws(SystemError) {
            return try spawn(steps, container, in: container.cgroup.directory.openInRoot(path, O_RDONLY | O_DIRECTORY))
        } catch {
            let reason = "\(error.errno)".lowercased()
            throw Status(.failedPrecondition, "exec failed: adding pid of the process to cgroups: \(path)/cgroup.procs: \(reason)")
        }
    }

    private func spawn(
        _ steps: ProcessSteps, _ container: Container, in cgroup: Descriptor
    ) throws(SystemError) -> (ProgramProcess, ExecProgram) {
        var options = ProgramProcess.Options()
        options.cgroup = cgroup
        // A time namespace can only be entered by whoever has an address space of its own.
        options.copiesMemory = container.has(.time) || ProcessSteps.needsOwnMemory(steps.process)
        var made: ExecProgram?
        let child = try context.inPIDNamespace(container.has(.pid) ? container.main.pidfd : nil) { () throws(SystemError) in
            try ProgramProcess(options) { control in
                let program = ExecProgram(steps, in: container.target, control: control)
                made = program
                return program.program
            }
        }
        guard let made else { throw SystemError("exec", .ioError) }
        return (child, made)
    }

    private func cgroupOfInit(_ container: Container) throws(SystemError) -> Descriptor {
        let text = String(decoding: try Descriptor.open("/proc/\(container.main.pid)/cgroup", O_RDONLY).readToEnd(), as: UTF8.self)
        // The line of version 2: `0::/path`.
        let path = text.split(separator: "\n").first { $0.hasPrefix("0::/") }?.dropFirst(4) ?? ""
        return try context.cgroups.root.openInRoot("/" + path, O_RDONLY | O_DIRECTORY)
    }

    private func watch(
        _ exec: ContainerProcess, _ child: ProgramProcess, _ program: ExecProgram, _ container: Container, _ process: OCI.Process,
        _ complete: @escaping Answer<UInt32>
    ) throws(SystemError) {
        var failure: LaunchFailure?
        let launch = try Launch(child, program.registers, on: context.loop, deadline: Self.startDeadline) { launch, checkpoint in
            do throws(SystemError) {
                switch checkpoint {
                case .terminal: try exec.streams.connect(terminal: launch.terminal())
                case .limits: try ProcessSteps.setLimits(process, of: child.pid)
                default: break
                }
                launch.proceed()
            } catch {
                launch.fail(LaunchFailure(error, in: launch.process.stage))
            }
        } onEnd: { _, reason in
            failure = reason
            if reason == nil { complete(.success(UInt32(bitPattern: exec.pid))) }
        }
        try context.reaper.watch(child.pid, child.pidfd) { end in
            launch.drain()
            exec.finish(end, memoryKilled: container.cgroup.memoryKills > 0)
            if let end = exec.end { container.remove(exec, end) }
            if let failure {
                exec.streams.close()
                complete(.failure(failure.status(process)))
            }
        }
    }

    private func home(_ process: OCI.Process, _ container: Container) -> String? {
        if process.env.contains(where: { $0.hasPrefix("HOME=") }) { return nil }
        guard let root = try? Descriptor.open("/proc/\(container.main.pid)/root", O_PATH | O_DIRECTORY) else { return "/" }
        return RootDirectory(root: root, owner: (0, 0)).home(of: process.user.uid) ?? "/"
    }
}
