import CLinux
import Glibc
import Linux
import OCI

extension ContainerProgram {
    /// A `/dev` that is a bind mount is what its owner made of it.
    static func hasOwnDevices(_ spec: Spec) -> Bool { !spec.mounts.contains { $0.normalizedDestination == "/dev" && $0.isBind } }

    /// Whether the container is shown a node of the agent's (``DeviceNodes``): a user namespace refuses mknod(2), and so do
    /// file systems of the host.
    static func isShown(_ device: LinuxDevice, in spec: Spec) -> Bool {
        if spec.linux?.namespaces.contains(where: { $0.type == .user }) == true { return true }
        let directory = spec.mounts.last { $0.normalizedDestination == "/dev" }
        let isFresh = directory?.type == "tmpfs" && directory?.options.contains("tmpcopyup") == false
        return !isFresh || !Mount(destination: device.path).normalizedDestination.hasPrefix("/dev/")
    }

    mutating func makeDevices() {
        guard Self.hasOwnDevices(spec), !hasMadeDevices else { return }
        for (index, device) in spec.devices.enumerated() {
            program.stage("device \(device.path)")
            make(device, number: index)
        }
        program.stage("links in /dev")
        let directory = fresh["/dev"]
        if directory == nil { program.openInRoot(.register(registers.root), "/dev", into: registers.target) }
        let place = SystemCallProgram.Argument.register(directory ?? registers.target)
        if directory == nil {
            program.call(SYS_unlinkat, place, program.text("ptmx"), 0, tolerating: [.noSuchFileOrDirectory, .readOnlyFileSystem])
        }
        for (target, name) in DeviceDirectory.links {
            program.call(SYS_symlinkat, program.text(target), place, program.text(name), tolerating: [.fileExists, .readOnlyFileSystem])
        }
    }

    private var hasMadeDevices: Bool { mounts.lastIndex { $0.normalizedDestination == "/dev" }.map { inputs.made[$0] != nil } ?? false }

    private mutating func make(_ device: LinuxDevice, number: Int) {
        let (parent, name) = split(Mount(destination: device.path).normalizedDestination)
        let place = openParent(parent, number: mounts.count + number)
        let node = program.text(name)
        if Self.isShown(device, in: spec) { return show(number, place, node) }
        // A node that is there already stays, as with runc.
        program.call(SYS_mknodat, place, node, .literal(device.mode), .literal(device.number), tolerating: [.fileExists])
        if (device.uid ?? 0) != 0 || (device.gid ?? 0) != 0 {
            let uid = Int32(bitPattern: device.uid ?? 0)
            let gid = Int32(bitPattern: device.gid ?? 0)
            program.call(SYS_fchownat, place, node, .literal(uid), .literal(gid), .literal(AT_SYMLINK_NOFOLLOW))
        }
    }

    /// The agent's node, in place of a file that is made if it is missing.
    private mutating func show(_ number: Int, _ place: SystemCallProgram.Argument, _ node: SystemCallProgram.Argument) {
        program.call(SYS_mknodat, place, node, .literal(Int32(bitPattern: S_IFREG) | 0o666), 0, tolerating: [.fileExists])
        program.call(SYS_openat, place, node, .literal(O_PATH | O_NOFOLLOW | O_CLOEXEC), into: registers.target)
        let flags = Int32(OPEN_TREE_CLONE) | O_CLOEXEC
        let path = program.text(DeviceNodes.path(number, of: inputs.id))
        program.call(SYS_open_tree, .literal(AT_FDCWD), path, .literal(flags), into: registers.tree)
        program.attachMount(.register(registers.tree), to: .register(registers.target))
    }

    private mutating func openParent(_ parent: String, number: Int) -> SystemCallProgram.Argument {
        if let directory = fresh["/dev"], parent == "/dev" || parent.hasPrefix("/dev/") {
            if parent == "/dev" { return .register(directory) }
            var path = ""
            for part in parent.dropFirst("/dev/".count).split(separator: "/") {
                path += path.isEmpty ? String(part) : "/" + part
                program.call(SYS_mkdirat, .register(directory), program.text(path), 0o755, tolerating: [.fileExists])
            }
        }
        let place = program.register()
        let root = SystemCallProgram.Argument.register(registers.root)
        let registers = registers
        let control = inputs.control
        program.openInRoot(root, parent, into: place, tolerating: [.noSuchFileOrDirectory])
        program.onTolerated {
            $0.load(.literal(Int32(truncatingIfNeeded: number)), into: registers.subject)
            $0.stop(at: .target, control: control)
            $0.openInRoot(root, parent, into: place)
        }
        return .register(place)
    }

    /// A pseudo terminal of the container's own devpts, so that ttyname(3) works; its master goes to the agent.
    ///
    /// - Returns: the terminal.
    mutating func openTerminal() -> SystemCallProgram.Argument {
        program.stage("terminal")
        let terminal = inputs.process.openTerminal(
            in: .register(registers.root), &program, master: registers.terminal, control: inputs.control)
        guard Self.hasOwnDevices(spec) else { return terminal }
        program.stage("/dev/console")
        let console = openConsole()
        program.copyMount(terminal, recursive: false, into: registers.tree)
        program.attachMount(.register(registers.tree), to: console)
        return terminal
    }

    /// The container's own null device, where nobody can have put something else in its place.
    ///
    /// - Returns: it, or the agent's where the container may not open it; nil: there is none to be sure of.
    mutating func openNull() -> SystemCallProgram.Argument? {
        let isCovered = mounts.contains { $0.normalizedDestination == "/dev/null" }
        guard let directory = fresh["/dev"], Self.hasOwnDevices(spec), !isCovered,
            spec.devices.contains(where: { $0.isNull && !Self.isShown($0, in: spec) })
        else { return nil }
        program.stage("/dev/null")
        let null = program.register()
        let flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC
        program.call(
            SYS_openat, .register(directory), program.text("null"), .literal(flags), into: null, tolerating: [.notPermitted, .permissionDenied])
        let own = inputs.process.null
        program.onTolerated { $0.load(.literal(own), into: null) }
        return .register(null)
    }

    private mutating func openConsole() -> SystemCallProgram.Argument {
        let directory: SystemCallProgram.Argument
        if let known = fresh["/dev"] {
            directory = .register(known)
        } else {
            let place = program.register()
            program.openInRoot(.register(registers.root), "/dev", into: place)
            directory = .register(place)
        }
        let name = program.text("console")
        program.call(SYS_mknodat, directory, name, .literal(Int32(bitPattern: S_IFREG) | 0o600), 0, tolerating: [.fileExists])
        program.call(SYS_openat, directory, name, .literal(O_PATH | O_NOFOLLOW | O_CLOEXEC), into: registers.target)
        return .register(registers.target)
    }
}

extension LinuxDeviceType {
    /// The type bits of a mode.
    var mode: Int32 {
        switch self {
        case .character, .unbufferedCharacter: Int32(bitPattern: S_IFCHR)
        case .block: Int32(bitPattern: S_IFBLK)
        case .fifo: Int32(bitPattern: S_IFIFO)
        }
    }
}

extension LinuxDevice {
    /// Type and permissions.
    var mode: Int32 { Int32(truncatingIfNeeded: (fileMode ?? 0o666) & 0o7777) | type.mode }

    /// `/dev/null`, and the device of that name.
    fileprivate var isNull: Bool {
        type.mode == Int32(bitPattern: S_IFCHR) && major == 1 && minor == 3 && Mount(destination: path).normalizedDestination == "/dev/null"
    }

    /// As mknod(2) takes it (`new_encode_dev` of linux/kdev_t.h).
    var number: Int32 {
        let major = UInt32(truncatingIfNeeded: major ?? 0)
        let minor = UInt32(truncatingIfNeeded: minor ?? 0)
        return Int32(bitPattern: minor & 0xff | major << 8 | (minor & ~0xff) << 12)
    }
}
