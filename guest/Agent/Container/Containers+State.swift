import AgentAPI
import CLinux
import Glibc
import Linux
import OCI
import TTRPC

extension Containers {
    private static let freezeDeadline: UInt64 = 10_000_000_000

    /// Answers at the end of a process, at once if it has ended.
    func wait(_ request: ProcessRequest, _ complete: @escaping Answer<ContainerProcess.End>) {
        do throws(Status) {
            let container = try find(request.containerID)
            if let process = container.process(request.execID) { return process.wait { complete(.success($0)) } }
            guard let end = container.end(of: request.execID) else { throw Status(.notFound, "exec \(request.execID) does not exist") }
            complete(.success(end))
        } catch {
            complete(.failure(error))
        }
    }

    func signal(_ request: SignalRequest) throws {
        let container = try find(request.containerID)
        guard let signal = Int32(exactly: request.signal), (1...64).contains(signal) else {
            throw Status(.invalidArgument, "\(request.signal) is no signal")
        }
        if request.all { return try signalAll(container, signal) }
        guard let process = container.process(request.execID) else {
            if container.end(of: request.execID) == nil { throw Status(.notFound, "exec \(request.execID) does not exist") }
            throw Status(.failedPrecondition, "process already finished")
        }
        do throws(SystemError) {
            try process.send(signal)
        } catch {
            throw Status(.failedPrecondition, error.errno == .noSuchProcess ? "process already finished" : "\(error)")
        }
    }

    private func signalAll(_ container: Container, _ signal: Int32) throws(SystemError) {
        if signal == SIGKILL { return try container.cgroup.kill() }
        for pid in container.cgroup.processes() { _ = kill(pid, signal) }
    }

    func resize(_ request: ResizeConsoleRequest) throws {
        let container = try find(request.containerID)
        guard let process = container.process(request.execID) else { throw Status(.notFound, "exec \(request.execID) does not exist") }
        guard let terminal = process.streams.terminal else { throw Status(.failedPrecondition, "the process has no terminal") }
        try terminal.setTerminalSize(TerminalSize(columns: UInt16(clamping: request.columns), rows: UInt16(clamping: request.rows)))
    }

    // MARK: Freezing

    func setFrozen(_ frozen: Bool, _ id: String, _ complete: @escaping Answer<Void>) {
        do {
            let container = try find(id)
            switch (container.state, frozen) {
            case (.running, true), (.created, true), (.paused, false): break
            case (.paused, true): throw Status(.failedPrecondition, "container \(id) is paused already")
            default: throw Status(.failedPrecondition, frozen ? "container \(id) is not running" : "container \(id) is not paused")
            }
            try container.cgroup.write(frozen ? "1" : "0", to: "cgroup.freeze")
            waitFrozen(frozen, container, until: monotonicNanoseconds() &+ Self.freezeDeadline, complete)
        } catch {
            complete(.failure(Self.status(error)))
        }
    }

    private func waitFrozen(_ frozen: Bool, _ container: Container, until deadline: UInt64, _ complete: @escaping Answer<Void>) {
        if container.cgroup.value("frozen", in: "cgroup.events") == (frozen ? 1 : 0) {
            container.change(to: frozen ? .paused : container.launch.isOver ? .running : .created)
            return complete(.success(()))
        }
        guard monotonicNanoseconds() < deadline else {
            if frozen { try? container.cgroup.write("0", to: "cgroup.freeze") }
            return complete(.failure(Status(.deadlineExceeded, "the container's processes cannot be \(frozen ? "frozen" : "thawed")")))
        }
        // cgroup.events changes within microseconds but for tasks in uninterruptible sleep.
        context.loop.schedule(afterNanoseconds: 2_000_000) { self.waitFrozen(frozen, container, until: deadline, complete) }
    }

    // MARK: Limits and numbers

    func update(_ request: UpdateRequest) throws {
        let container = try find(request.containerID)
        guard container.state != .stopped else { throw Status(.failedPrecondition, "container \(request.containerID) is not running") }
        let resources: LinuxResources
        do {
            resources = try JSON.decode(from: Array(request.resources))
        } catch {
            throw Status(.invalidArgument, "resources: \(error)")
        }
        if resources.memory?.checkBeforeUpdate == true, let limit = resources.memory?.limit, limit > 0 {
            let used = UInt64((try? container.cgroup.read("memory.current"))?.split(separator: "\n").first ?? "") ?? 0
            if used > UInt64(limit) { throw Status(.failedPrecondition, "\(used) bytes of memory are in use") }
        }
        try container.cgroup.apply(CgroupLimits(resources))
        if !resources.devices.isEmpty {
            try container.cgroup.apply(context.cgroups.filter(DeviceFilter.program(resources.devices)))
        }
    }

    func statistics(_ id: String) throws(Status) -> [String: UInt64] {
        CgroupStatistics.read(try find(id).cgroup)
    }

    func processes(_ id: String) throws(Status) -> [ListProcessesResponse.Process] {
        let container = try find(id)
        guard container.state != .stopped else { return [] }
        var execs: [Int32: String] = [:]
        for exec in container.execs { execs[exec.pid] = exec.execID }
        return ProcessList.read(container.cgroup.processes(), execs: execs)
    }

    // MARK: Memory

    /// Answers at the next out-of-memory kill, or when the container has ended without another.
    func waitMemoryKill(_ id: String, _ complete: @escaping Answer<UInt64>) {
        do {
            let container = try find(id)
            try MemoryWatch.begin(container, on: context.loop) { complete(.success($0)) }
        } catch {
            complete(.failure(Self.status(error)))
        }
    }
}
