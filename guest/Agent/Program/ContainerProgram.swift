import CLinux
import Glibc
import Linux
import OCI

/// From a spec to the list of system calls that a container's first process makes (runtime.md, Lifecycle):
/// its view of the machine first, then what every process does (``ProcessSteps``), a stop, and the program.
///
/// Pure: what had to be looked up comes in as ``Inputs``. Descriptors are numbers the child inherits.
struct ContainerProgram {
    /// A file system that is there already.
    struct MadeFileSystem {
        /// Where it is mounted.
        var place: String
        /// What a mount of it lacks.
        var change = MountPlan.Attributes()
        /// Directories in it that this container has no use for.
        var emptyDirectories: [String] = []
    }

    struct Inputs {
        /// The container's.
        var id = ""
        /// The child's end of its control socket.
        var control: Int32
        var process: ProcessSteps
        /// The container's cgroup, where the agent sees it.
        var cgroup: String?
        /// Namespaces to join: descriptor and `CLONE_NEW*` flag.
        var joined: [(descriptor: Int32, flag: Int32)] = []
        /// By mount; a `/dev` among them has its nodes and links.
        var made: [Int: MadeFileSystem] = [:]
        /// A directory nobody can put anything into.
        var emptyDirectory: String?
        /// Paths that no procfs of this kernel has.
        var absentPaths: Set<String> = []
    }

    let spec: Spec
    let inputs: Inputs
    var program: SystemCallProgram
    let registers: ProgramRegisters
    /// Directories of file systems mounted here that were empty and that nobody else can have changed since.
    var fresh: [String: SystemCallProgram.Register] = [:]

    init(_ spec: Spec, _ inputs: Inputs) {
        self.spec = spec
        self.inputs = inputs
        program = SystemCallProgram()
        registers = ProgramRegisters(&program)
        build()
    }

    var linux: LinuxConfig { spec.linux ?? LinuxConfig() }
    var mounts: [Mount] { spec.mounts }

    /// Namespaces the child is born into.
    static func newNamespaces(of spec: Spec) -> UInt64 {
        // A mount namespace is had in any case: a container's mounts are no business of the agent's.
        var flags = UInt64(CLONE_NEWNS)
        for namespace in spec.linux?.namespaces ?? [] where namespace.path.isEmpty && namespace.type != .cgroup {
            if namespace.type == .network, !spec.hasOwnNetwork { continue }
            flags |= UInt64(UInt32(bitPattern: namespace.type.cloneFlag))
        }
        return flags
    }

    func isNew(_ type: LinuxNamespaceType) -> Bool {
        linux.namespaces.contains { $0.type == type && $0.path.isEmpty }
    }

    func has(_ type: LinuxNamespaceType) -> Bool {
        linux.namespaces.contains { $0.type == type }
    }

    private mutating func build() {
        enterNamespaces()
        setNames()
        openRoot()
        for index in mounts.indices { mount(index) }
        makeDevices()
        let terminal = inputs.process.hasTerminal ? openTerminal() : nil
        let null = inputs.process.needsNull ? openNull() : nil
        setKernelParameters()
        restrictPaths()
        let directory = openDirectory()
        finishReadOnly()
        if !(spec.hooks?.createContainer ?? []).isEmpty {
            program.stage("createContainer hooks")
            program.stop(at: .createHooks, control: inputs.control)
        }
        enterRoot()
        inputs.process.emit(into: &program, directory: directory, terminal: terminal, null: null, control: inputs.control)
    }

    private mutating func enterNamespaces() {
        program.stage("namespaces")
        if isNew(.user) || (isNew(.time) && !linux.timeOffsets.isEmpty) { program.stop(at: .namespaces, control: inputs.control) }
        for (descriptor, flag) in inputs.joined.sorted(by: { $0.flag == CLONE_NEWUSER && $1.flag != CLONE_NEWUSER }) {
            program.call(SYS_setns, .literal(descriptor), .literal(flag))
        }
        if has(.user) { becomeRoot(&program) }
        // Not by clone3: there the new namespace's root would be the agent's cgroup, not the one the child is born in.
        if isNew(.cgroup) { program.call(SYS_unshare, .literal(CLONE_NEWCGROUP)) }
        if spec.hasOwnNetwork {
            let socket = program.register()
            program.call(SYS_socket, .literal(AF_INET), .literal(Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)), 0, into: socket)
            program.call(SYS_ioctl, .register(socket), .literal(Int32(SIOCSIFFLAGS)), program.bytes(loopbackUpRequest))
        }
        program.call(SYS_umask, 0)
    }

    private mutating func setNames() {
        if !spec.hostname.isEmpty {
            program.stage("hostname")
            program.call(SYS_sethostname, program.text(spec.hostname), .literal(Int32(truncatingIfNeeded: spec.hostname.utf8.count)))
        }
        if !spec.domainname.isEmpty {
            program.stage("domainname")
            program.call(SYS_setdomainname, program.text(spec.domainname), .literal(Int32(truncatingIfNeeded: spec.domainname.utf8.count)))
        }
    }

    /// A mount of the root file system of our own, on top of where it is: pivot_root(2) wants a mount point.
    private mutating func openRoot() {
        let path = spec.root?.path ?? ""
        program.stage("root \(path)")
        program.mount("", on: "/", source: "", flags: MountFlag.recursive | MountFlag.private)
        let place = registers.target
        program.call(SYS_openat, .literal(AT_FDCWD), program.text(path), .literal(O_PATH | O_DIRECTORY | O_CLOEXEC), into: place)
        program.copyMount(.register(place), recursive: true, into: registers.root)
        program.attachMount(.register(registers.root), to: .register(place))
    }

    private mutating func setKernelParameters() {
        for (name, value) in linux.sysctl.sorted(by: { $0.key < $1.key }) where isWrittenByChild(name) {
            program.stage("sysctl \(name)")
            program.write(value, to: Self.parameterPath(name))
        }
    }

    /// Parameters of namespaces the container has of its own; the agent writes the machine's.
    func isWrittenByChild(_ name: String) -> Bool {
        if !has(.user) { return true }
        let parts = name.split { $0 == "." || $0 == "/" }.map(String.init)
        switch parts.first {
        case "net": return spec.hasOwnNetwork
        case "kernel":
            let ipc: Set = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced", "msg_next_id", "sem_next_id", "shm_next_id"]
            let uts: Set = ["hostname", "domainname"]
            let leaf = parts.last ?? ""
            return ipc.contains(leaf) && isNew(.ipc) || uts.contains(leaf) && isNew(.uts)
        case "fs": return parts.dropFirst().first == "mqueue" && isNew(.ipc)
        default: return false
        }
    }

    /// `net.ipv4.ip_forward`, or with slashes where a part has a dot in it (sysctl(8)).
    static func parameterPath(_ name: String) -> String {
        let firstSeparator = name.first { $0 == "." || $0 == "/" }
        if firstSeparator == "/" { return "/proc/sys/" + name }
        return "/proc/sys/" + String(name.map { $0 == "." ? "/" : $0 == "/" ? "." : $0 })
    }

    /// The working directory, made if it is missing, as runc does.
    private mutating func openDirectory() -> SystemCallProgram.Register? {
        let path = inputs.process.process.cwd
        if path == "/" { return nil }
        program.stage("cwd \(path)")
        let directory = program.register()
        let registers = registers
        let control = inputs.control
        program.openInRoot(.register(registers.root), path, flags: O_PATH | O_DIRECTORY, into: directory, tolerating: [.noSuchFileOrDirectory])
        program.onTolerated {
            $0.stop(at: .workingDirectory, control: control)
            $0.openInRoot(.register(registers.root), path, flags: O_PATH | O_DIRECTORY, into: directory)
        }
        return directory
    }

    private mutating func finishReadOnly() {
        // Mounts and devices inside had to be made first.
        for (index, mount) in mounts.enumerated() where isMadeReadOnlyLater(mount) {
            program.stage("mounts[\(index)] \(mount.destination)")
            program.openInRoot(.register(registers.root), mount.destination, into: registers.target)
            program.setMount(.register(registers.target), set: UInt64(MOUNT_ATTR_RDONLY), recursive: false)
        }
        if spec.root?.readonly == true {
            program.stage("root.readonly")
            program.setMount(.register(registers.root), set: UInt64(MOUNT_ATTR_RDONLY), recursive: false)
        }
    }

    /// Makes the root file system `/` and lets the old one go (pivot_root(2), the `pivot_root(".", ".")` idiom).
    private mutating func enterRoot() {
        program.stage("pivot_root")
        program.call(SYS_fchdir, .register(registers.root))
        program.call(SYS_pivot_root, program.text("."), program.text("."))
        program.call(SYS_umount2, program.text("."), .literal(Int32(MNT_DETACH)))
        program.call(SYS_chdir, program.text("/"))
        if let propagation = linux.rootfsPropagation?.flags {
            program.stage("linux.rootfsPropagation")
            program.mount("", on: "/", source: "", flags: propagation)
        }
    }
}

/// Takes the ids of root in a user namespace just entered.
func becomeRoot(_ program: inout SystemCallProgram) {
    program.call(SYS_setresgid, 0, 0, 0)
    program.call(SYS_setresuid, 0, 0, 0)
}

extension LinuxNamespaceType {
    /// `CLONE_NEW*`.
    var cloneFlag: Int32 {
        switch self {
        case .pid: CLONE_NEWPID
        case .network: CLONE_NEWNET
        case .mount: CLONE_NEWNS
        case .ipc: CLONE_NEWIPC
        case .uts: CLONE_NEWUTS
        case .user: CLONE_NEWUSER
        case .cgroup: CLONE_NEWCGROUP
        case .time: 0x80
        }
    }
}

extension RootfsPropagation {
    var flags: UInt64 {
        let recursive = MountFlag.recursive
        switch self {
        case .private: return MountFlag.private
        case .shared: return MountFlag.shared
        case .slave: return MountFlag.slave
        case .unbindable: return MountFlag.unbindable
        case .rprivate: return MountFlag.private | recursive
        case .rshared: return MountFlag.shared | recursive
        case .rslave: return MountFlag.slave | recursive
        case .runbindable: return MountFlag.unbindable | recursive
        }
    }
}
