import AgentAPI
import Glibc
import Linux
import OCI

/// A container as commands find it by its id.
public struct ContainerHandle {
    private static let killDeadline: UInt64 = 10_000_000_000

    public let directory: StateDirectory
    private let root: StateRoot

    /// - Throws: ``SandboxError/Kind/noSuchContainer``.
    public init(_ id: String, in root: StateRoot) throws(SandboxError) {
        self.root = root
        directory = try StateDirectory.open(id, in: root)
    }

    public var id: String { directory.id }

    /// Of the sandbox whose machine the container is in, mostly its own.
    func machineDirectory() throws -> StateDirectory {
        guard let other = try directory.read().machineOf else { return directory }
        return try StateDirectory.open(other, in: root)
    }

    public func state() throws -> State { try directory.read().state }

    /// A container that is running, or created; `verb` is for the error.
    public func client() throws -> ControlClient { try ControlClient(directory) }

    /// Sends a signal to the container's first process, or to all of them.
    ///
    /// A guest that does not take SIGKILL is ended with its machine.
    public func kill(_ signal: Int32, all: Bool = false) throws {
        if signal == 0 {
            // kill(2): only whether it is there.
            guard try all || directory.hasMonitor() && directory.read().status != .stopped else { throw SandboxError(.wrongState, "container not running") }
            return
        }
        // As with runc, which says so of a single process only.
        if all, try directory.read().status == .stopped { return }
        let request = SignalRequest.with {
            $0.containerID = id
            $0.signal = UInt32(signal)
            $0.all = all
        }
        do {
            _ = try client().call(AgentMethods.signal, request)
        } catch let error as SandboxError {
            switch error.kind {
            case .timedOut where signal == SIGKILL, .agentLost where signal == SIGKILL: try endMonitor(SIGKILL)
            case .notFound, .monitorEnded: throw SandboxError(.wrongState, "container not running")
            default: throw error
            }
        }
    }

    /// Removes a stopped container, or one that was never started; with `force` a running one too.
    ///
    /// - Parameter warn: told of hooks that fail.
    public func delete(force: Bool, warn: (String) -> Void) throws {
        let record: SandboxRecord
        do { record = try directory.read() } catch {
            // Of another version, or damaged: there is nothing to be run down or told.
            guard force, try directory.removeStale() else { throw error }
            return
        }
        switch record.status {
        // Its monitor may be about to end.
        case .stopped: try end {}
        case .creating: try end { try endMonitor(SIGTERM) }
        case .created: try end { try kill(SIGKILL) }
        case .running, .paused:
            guard force else {
                throw SandboxError(.wrongState, "cannot delete container \(id) that is not stopped: \(record.status.rawValue)")
            }
            try end { try kill(SIGKILL, all: true) }
        }
        // Its monitor may have removed a container that was never created; nobody else writes the record now.
        var state = record.state
        state.status = .stopped
        state.pid = 0
        let config = try? directory.config()
        let hooks = config?.hooks?.poststop ?? []
        guard try directory.removeStale() else { throw SandboxError(.wrongState, "container \(id) is being deleted already") }
        ContainerCgroup.remove(record.cgroups)
        if let network = config?.linux?.namespaces.first(where: { $0.type == .network && !$0.path.isEmpty }) {
            // Of a monitor that was killed; others clean up behind themselves.
            SandboxNetwork.removeLeftovers(of: network.path)
        }
        guard record.status != .creating else { return }
        try HookRunner().runAll("poststop", hooks, state, warn: warn)
    }

    /// Asks the monitor to end by `ask`, and sees to it.
    private func end(_ ask: () throws -> Void) throws {
        guard let monitor = try monitor() else { return }
        do { try ask() } catch let error as SandboxError {
            // It may have ended just now; otherwise there is no use in asking again.
            if error.kind != .wrongState { try? monitor.send(SIGKILL) }
        }
        if try monitor.descriptor.waitReadable(atMost: Self.killDeadline) { return }
        try? monitor.send(SIGKILL)
        guard try monitor.descriptor.waitReadable(atMost: Self.killDeadline) else {
            throw SandboxError(.timedOut, "container \(id): its monitor does not end")
        }
    }

    /// Saves the container with its machine to a directory.
    ///
    /// - Parameters:
    ///   - path: absolute; nothing, or an empty directory.
    ///   - parent: absolute: a snapshot, only the difference to whose memory is written.
    ///   - ending: ends it once it is saved; returns when nothing of it runs any more.
    public func save(to path: String, since parent: String?, ending: Bool) throws {
        let monitor = try monitor()
        let request = SnapshotRequest.with {
            $0.containerID = id
            $0.directory = path
            $0.stop = ending
            $0.parent = parent ?? ""
        }
        // The monitor gives up by itself.
        _ = try client().call(MonitorMethods.snapshot, request, deadline: nil)
        guard ending, let monitor else { return }
        guard try monitor.descriptor.waitReadable(atMost: Self.killDeadline) else {
            throw SandboxError(.timedOut, "container \(id) was saved, but its monitor does not end")
        }
    }

    private func endMonitor(_ signal: Int32) throws {
        try monitor()?.send(signal)
    }

    /// The monitor's process, nil when it has ended.
    private func monitor() throws -> ProcessHandle? {
        guard let process = try? ProcessHandle(directory.read().monitor) else { return nil }
        // The id may have become another process's, but not while the lock is held.
        return try directory.hasMonitor() ? process : nil
    }
}
