import CLinux
import Glibc
import Linux
import OCI
import TTRPC

/// A container, from the moment its init is made until it is deleted (runtime.md, State).
final class Container {
    let id: String
    let spec: Spec
    let process: Process
    let cgroup: Cgroup
    let filter: SeccompFilter?
    let main: ContainerProcess
    /// The first process on its way to its program.
    let launch: Launch
    private(set) var state = Status.creating
    private var running: [String: ContainerProcess] = [:]
    private var namespaces: [Descriptor] = []
    /// How execs ended, the oldest first.
    private var ended: [(id: String, end: ContainerProcess.End)] = []
    /// More than a host asks about late.
    private static let keptEnds = 256

    /// Told once that the program runs, or why not.
    var onLaunched: ((LaunchFailure?) -> Void)?

    enum Status: Equatable { case creating, created, starting, running, paused, stopped }

    init(
        id: String, spec: Spec, process: Process, cgroup: Cgroup, filter: SeccompFilter?, main: ContainerProcess, launch: Launch
    ) {
        self.id = id
        self.spec = spec
        self.process = process
        self.cgroup = cgroup
        self.filter = filter
        self.main = main
        self.launch = launch
    }

    func change(to state: Status) {
        if self.state != .stopped { self.state = state }
    }

    /// Keeps the container's mounts past the end of its processes: to take them down takes longer than all else an end does, and who
    /// waits for the end need not wait for that.
    ///
    /// - Parameter namespaces: others to be kept.
    func keepMounts(and namespaces: [Descriptor]) {
        self.namespaces = namespaces
        if let mounts = try? main.pidfd.mountNamespace() { self.namespaces.append(mounts) }
    }

    func releaseMounts() {
        namespaces = []
    }

    func launchEnded(_ failure: LaunchFailure?) {
        if failure == nil { change(to: .running) }
        let told = onLaunched
        onLaunched = nil
        told?(failure)
    }

    /// What hooks read.
    func ociState(_ status: State.Status) -> State {
        var state = State(id: id, status: status, pid: main.pid, bundle: spec.root?.path ?? "")
        state.annotations = spec.annotations
        return state
    }

    /// What an exec joins.
    var target: ExecProgram.Target {
        var flags = CLONE_NEWNS
        for namespace in spec.linux?.namespaces ?? [] where namespace.type != .pid { flags |= namespace.type.cloneFlag }
        return ExecProgram.Target(pidfd: main.pidfd.raw, namespaces: flags)
    }

    func has(_ type: LinuxNamespaceType) -> Bool { spec.linux?.namespaces.contains { $0.type == type } ?? false }

    /// None of its processes outlives the first.
    var hasOwnPIDNamespace: Bool { spec.linux?.namespaces.contains { $0.type == .pid && $0.path.isEmpty } ?? false }

    /// The init or a running exec.
    func process(_ execID: String) -> ContainerProcess? { execID.isEmpty ? main : running[execID] }

    /// How an exec that is gone ended.
    func end(of execID: String) -> ContainerProcess.End? { ended.last { $0.id == execID }?.end }

    var execs: [ContainerProcess] { Array(running.values) }

    func add(_ exec: ContainerProcess) {
        running[exec.execID] = exec
    }

    /// Its end stays known; all else is given back.
    func remove(_ exec: ContainerProcess, _ end: ContainerProcess.End) {
        guard running[exec.execID] === exec else { return }
        running[exec.execID] = nil
        ended.append((exec.execID, end))
        if ended.count > Self.keptEnds { ended.removeFirst() }
    }
}

extension User {
    /// The id as the guest's kernel counts, outside the container's user namespace.
    func mapped(_ linux: LinuxConfig?) -> (uid: UInt32, gid: UInt32) {
        (Self.map(uid, linux?.uidMappings ?? []), Self.map(gid, linux?.gidMappings ?? []))
    }

    static func map(_ id: UInt32, _ mappings: [LinuxIDMapping]) -> UInt32 {
        for range in mappings where id >= range.containerID && id - range.containerID < range.size {
            return range.hostID &+ (id - range.containerID)
        }
        return id
    }
}
