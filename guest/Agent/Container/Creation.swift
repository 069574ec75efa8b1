import AgentAPI
import CLinux
import Glibc
import Linux
import OCI
import TTRPC

/// A container being made: from the request to the first process waiting for its start.
final class Creation {
    /// From the clone to the stop before the program: more than the slowest host needs for a long list of mounts.
    private static let deadline: UInt64 = 120_000_000_000
    /// Between a container's end and that of its mounts: the host hears of the former, and may end the machine, meanwhile.
    private static let mountsDelay: UInt64 = 200_000_000

    private let id: String
    private let spec: Spec
    private let process: OCI.Process
    private let context: AgentContext
    private let cgroup: Cgroup
    private let complete: (Result<Container, Status>) -> Void
    private var container: Container?
    private var isDone = false
    /// Kept until the child has its own.
    private var joined: [(descriptor: Descriptor, flag: Int32)] = []
    private var spareFileSystems: [Int: SpareFileSystem] = [:]
    private var spareNamespace: Descriptor?
    /// Until the child shows them.
    private var nodes: DeviceNodes?

    /// - Parameter complete: called once; after a failure nothing of the container is left.
    init(
        id: String, spec: Spec, _ context: AgentContext, _ complete: @escaping (Result<Container, Status>) -> Void
    ) throws {
        self.id = id
        self.spec = spec
        self.context = context
        self.complete = complete
        guard let process = spec.process else { throw InvalidField("process", "missing") }
        self.process = process
        cgroup = try context.cgroups.makeCgroup(CgroupTree.path(spec.linux?.cgroupsPath ?? "", id: id))
    }

    private var linux: LinuxConfig { spec.linux ?? LinuxConfig() }
    private var rootOwner: (uid: UInt32, gid: UInt32) { User().mapped(spec.linux) }

    /// Starts the child. A thrown error leaves nothing behind.
    func begin(_ streams: Streams, _ sockets: [UInt64: Descriptor]) throws {
        do {
            try prepareCgroup()
            try openNamespaces()
            let devices = spec.devices
            if ContainerProgram.hasOwnDevices(spec), devices.contains(where: { ContainerProgram.isShown($0, in: spec) }) {
                nodes = try DeviceNodes(devices, of: id, linux)
            }
            writeMachineParameters()
            try launch(streams, sockets)
        } catch {
            try? cgroup.remove()
            throw error
        }
    }

    private func prepareCgroup() throws {
        let resources = linux.resources ?? LinuxResources()
        try cgroup.apply(CgroupLimits(resources))
        if DeviceFilter.allowsEverything(resources.devices) {
            try cgroup.removeFilter()
        } else {
            try cgroup.apply(context.cgroups.filter(DeviceFilter.program(resources.devices)))
        }
        let isWritable = spec.mounts.contains { $0.type.hasPrefix("cgroup") && !$0.options.contains("ro") }
        if isWritable, ContainerProgram.newNamespaces(of: spec) & UInt64(CLONE_NEWUSER) != 0 {
            try cgroup.delegate(toUser: rootOwner.uid, group: rootOwner.gid)
        }
    }

    private func openNamespaces() throws(SystemError) {
        if let spare = context.spares.takeIPCNamespace(for: spec) {
            joined.append((spare, CLONE_NEWIPC))
            spareNamespace = spare
        }
        for namespace in linux.namespaces where !namespace.path.isEmpty {
            joined.append((try Descriptor.open(namespace.path, O_RDONLY), namespace.type.cloneFlag))
        }
    }

    /// Parameters of the whole machine: a container with ids of its own may not write them, its spec may.
    private func writeMachineParameters() {
        guard linux.namespaces.contains(where: { $0.type == .user }) else { return }
        let program = ContainerProgram(spec, ContainerProgram.Inputs(control: 3, process: ProcessSteps(process: process)))
        for (name, value) in linux.sysctl.sorted(by: { $0.key < $1.key }) where !program.isWrittenByChild(name) {
            if let file = try? Descriptor.open(ContainerProgram.parameterPath(name), O_WRONLY) { _ = try? file.write(Array(value.utf8)) }
        }
    }

    private func launch(_ requested: Streams, _ sockets: [UInt64: Descriptor]) throws {
        let owner = process.user.mapped(spec.linux).uid
        let streams = try ProcessStreams(
            requested, sockets, isTerminal: process.terminal, owner: owner, on: context.loop)
        let filter = try linux.seccomp.map { try SeccompFilter($0) }
        var options = ProgramProcess.Options()
        options.namespaces = ContainerProgram.newNamespaces(of: spec)
        if spareNamespace != nil { options.namespaces &= ~UInt64(UInt32(bitPattern: CLONE_NEWIPC)) }
        spareFileSystems = context.spares.takeFileSystems(for: spec)
        options.cgroup = cgroup.directory
        options.copiesMemory = ProcessSteps.needsOwnMemory(process)
        var steps = try ProcessSteps(process: process, in: spec, home: home())
        steps.take(streams, null: context.null)
        steps.filter = filter
        steps.waitsForStart = true
        var made: ContainerProgram?
        let joinedPID = joined.first { $0.flag == CLONE_NEWPID }?.descriptor
        let child = try context.inPIDNamespace(joinedPID) { () throws(SystemError) in
            try ProgramProcess(options) { control in
                var inputs = ContainerProgram.Inputs(id: self.id, control: control, process: steps)
                inputs.joined = self.joined.filter { $0.flag != CLONE_NEWPID }.map { ($0.descriptor.raw, $0.flag) }
                inputs.cgroup = self.context.cgroups.path + "/" + self.cgroup.path.joined(separator: "/")
                for (index, spare) in self.spareFileSystems { inputs.made[index] = spare.made(for: self.spec.mounts[index], of: self.spec) }
                inputs.emptyDirectory = self.context.emptyDirectory
                inputs.absentPaths = self.context.spares.absentPaths
                let program = ContainerProgram(self.spec, inputs)
                made = program
                return program.program
            }
        }
        streams.releaseProcessEnds()
        joined = []
        // The child's namespace has copies.
        spareFileSystems = [:]
        guard let made else { return }
        try watch(child, made, streams, filter)
    }

    private func watch(_ child: ProgramProcess, _ program: ContainerProgram, _ streams: ProcessStreams, _ filter: SeccompFilter?) throws(SystemError) {
        let launch = try Launch(child, program.registers, on: context.loop, deadline: Self.deadline) { launch, checkpoint in
            self.answer(launch, checkpoint)
        } onEnd: { launch, failure in
            self.ended(launch, failure)
        }
        let main = ContainerProcess(execID: "", pid: child.pid, pidfd: child.pidfd, streams: streams)
        let container = Container(
            id: id, spec: spec, process: process, cgroup: cgroup, filter: filter, main: main, launch: launch)
        self.container = container
        let loop = context.loop
        try context.reaper.watch(child.pid, child.pidfd) { end in
            launch.drain()
            let kills = container.cgroup.memoryKills
            // Without a PID namespace of its own nothing else ends what init left behind.
            if !container.has(.pid) { try? container.cgroup.kill() }
            container.change(to: .stopped)
            main.finish(end, memoryKilled: kills > 0)
            loop.schedule(afterNanoseconds: Self.mountsDelay) { [weak container] in container?.releaseMounts() }
        }
    }

    /// The home directory of the process's user, if the spec does not say.
    private func home() throws(InvalidField) -> String? {
        if process.env.contains(where: { $0.hasPrefix("HOME=") }) { return nil }
        do {
            let root = try Descriptor.open(spec.root?.path ?? "", O_PATH | O_DIRECTORY)
            return RootDirectory(root: root, owner: rootOwner).home(of: process.user.uid) ?? "/"
        } catch {
            throw InvalidField("root.path", "\(error)")
        }
    }

    // MARK: Stops

    private func answer(_ launch: Launch, _ checkpoint: Checkpoint) {
        let stage = launch.process.stage
        do {
            switch checkpoint {
            case .namespaces: try setUpNamespaces(launch.process.pid)
            case .target: try makeTarget(launch)
            case .copyUp: try copyUp(launch)
            case .workingDirectory:
                try RootDirectory(root: launch.root(), owner: rootOwner).make(process.cwd, isDirectory: true)
            case .terminal: try container?.main.streams.connect(terminal: launch.terminal())
            case .limits: try ProcessSteps.setLimits(process, of: launch.process.pid)
            case .createHooks: return runCreateHooks(launch)
            case .created: return created(launch)
            }
            launch.proceed()
        } catch {
            launch.fail(LaunchFailure(error, in: stage))
        }
    }

    private func setUpNamespaces(_ pid: Int32) throws(SystemError) {
        if linux.namespaces.contains(where: { $0.type == .user && $0.path.isEmpty }) {
            try IDMapNamespace.write(linux.uidMappings.lines, to: "/proc/\(pid)/uid_map")
            try IDMapNamespace.write(linux.gidMappings.lines, to: "/proc/\(pid)/gid_map")
        }
        if !linux.timeOffsets.isEmpty {
            let lines = linux.timeOffsets.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.secs ?? 0) \($0.value.nanosecs ?? 0)\n" }
            _ = try Descriptor.open("/proc/\(pid)/timens_offsets", O_WRONLY).write(Array(lines.joined().utf8))
        }
    }

    /// A mode that the mount was given stays.
    private func copyUp(_ launch: Launch) throws(SystemError) {
        let hasMode = spec.mounts.indices.contains(launch.subject) && spec.mounts[launch.subject].options.contains { $0.hasPrefix("mode=") }
        try TreeCopy.copy(from: launch.target(), to: launch.tree(), withMode: !hasMode)
    }

    private func makeTarget(_ launch: Launch) throws(SystemError) {
        let root = RootDirectory(root: try launch.root(), owner: rootOwner)
        let index = launch.subject
        if spec.mounts.indices.contains(index) {
            let mount = spec.mounts[index]
            let isDirectory = mount.isBind ? try isDirectory(mount.source) : true
            return try root.make(mount.normalizedDestination, isDirectory: isDirectory)
        }
        let devices = spec.devices
        guard devices.indices.contains(index - spec.mounts.count) else { return }
        let path = Mount(destination: devices[index - spec.mounts.count].path).normalizedDestination
        try root.make(path.split(separator: "/").dropLast().joined(separator: "/"), isDirectory: true)
    }

    private func isDirectory(_ path: String) throws(SystemError) -> Bool {
        try Descriptor.open(path, O_PATH).status().st_mode & S_IFMT == S_IFDIR
    }

    private func runCreateHooks(_ launch: Launch) {
        guard let container else { return }
        HookRun.run(
            spec.hooks?.createContainer ?? [], "createContainer", in: container.target,
            pidNamespace: container.has(.pid) ? launch.process.pidfd : nil, state: container.ociState(.creating), context
        ) { failure in
            if let failure { launch.fail(failure) } else { launch.proceed() }
        }
    }

    private func created(_ launch: Launch) {
        launch.suspendDeadline()
        guard let container, !isDone else { return }
        isDone = true
        nodes = nil
        container.keepMounts(and: [spareNamespace].compactMap { $0 })
        container.change(to: .created)
        complete(.success(container))
    }

    private func ended(_ launch: Launch, _ failure: LaunchFailure?) {
        guard !isDone else { return container?.launchEnded(failure) ?? () }
        isDone = true
        let reason = failure ?? LaunchFailure("create", .canceled, detail: "the process was killed while it was set up")
        let status = reason.status(process)
        guard let container else { return complete(.failure(status)) }
        container.main.wait { _ in
            container.main.streams.close()
            self.context.remove(container.cgroup) { _ in self.complete(.failure(status)) }
        }
    }
}
