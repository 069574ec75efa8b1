import CLinux
import Glibc
import Linux
import OCI

extension ContainerProgram {
    /// Devices every container has (config-linux.md, Default Devices).
    static let defaultDevices: [LinuxDevice] = [
        ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0),
    ].map { LinuxDevice(path: "/dev/\($0.0)", type: .character, major: $0.1, minor: $0.2) }

    /// Nodes to be made, those of the spec last and in place of a default one of the same path.
    static func devices(of spec: Spec) -> [LinuxDevice] {
        let own = spec.linux?.devices ?? []
        return defaultDevices.filter { device in !own.contains { $0.path == device.path } } + own
    }

    /// A `/dev` that is a bind mount is what its owner made of it.
    var hasOwnDevices: Bool { !mounts.contains { $0.normalizedDestination == "/dev" && $0.isBind } }

    mutating func makeDevices() {
        guard hasOwnDevices else { return }
        let devices = Self.devices(of: spec)
        for (index, device) in devices.enumerated() {
            program.stage("device \(device.path)")
            make(device, number: mounts.count + index)
        }
        program.stage("links in /dev")
        let directory = fresh["/dev"]
        let links = [
            ("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("/proc/self/fd/1", "stdout"), ("/proc/self/fd/2", "stderr"),
            ("pts/ptmx", "ptmx"),
        ]
        if directory == nil { program.openInRoot(.register(registers.root), "/dev", into: registers.target) }
        let place = SystemCallProgram.Argument.register(directory ?? registers.target)
        if directory == nil {
            program.call(SYS_unlinkat, place, program.text("ptmx"), 0, tolerating: [.noSuchFileOrDirectory])
        }
        for (target, name) in links {
            program.call(SYS_symlinkat, program.text(target), place, program.text(name), tolerating: [.fileExists])
        }
    }

    private mutating func make(_ device: LinuxDevice, number: Int) {
        let (parent, name) = split(Mount(destination: device.path).normalizedDestination)
        let place = openParent(parent, number: number)
        let node = program.text(name)
        if has(.user), device.type != .fifo { return Self.bind(device, place, node, registers, &program) }
        let mode = Int32(truncatingIfNeeded: (device.fileMode ?? 0o666) & 0o7777) | device.type.mode
        let mayBeRefused = fresh["/dev"] == nil && device.type != .fifo
        let refusals: [Errno] = mayBeRefused ? [.notPermitted, .permissionDenied, .notSupportedOnSocket] : []
        // A node that is there already stays, as with runc.
        program.call(SYS_mknodat, place, node, .literal(mode), .literal(device.number), tolerating: [.fileExists] + refusals)
        if mayBeRefused {
            let registers = registers
            program.onTolerated { Self.bind(device, place, node, registers, &$0) }
        }
        if (device.uid ?? 0) != 0 || (device.gid ?? 0) != 0 {
            let uid = Int32(bitPattern: device.uid ?? 0)
            let gid = Int32(bitPattern: device.gid ?? 0)
            program.call(SYS_fchownat, place, node, .literal(uid), .literal(gid), .literal(AT_SYMLINK_NOFOLLOW))
        }
    }

    /// Shows the agent's node of that name instead: where mknod(2) is refused, by a user namespace or the root's file system.
    private static func bind(
        _ device: LinuxDevice, _ place: SystemCallProgram.Argument, _ node: SystemCallProgram.Argument, _ registers: ProgramRegisters,
        _ program: inout SystemCallProgram
    ) {
        program.call(SYS_mknodat, place, node, .literal(Int32(bitPattern: S_IFREG) | 0o666), 0, tolerating: [.fileExists])
        program.call(SYS_openat, place, node, .literal(O_PATH | O_NOFOLLOW | O_CLOEXEC), into: registers.target)
        let flags = Int32(OPEN_TREE_CLONE) | O_CLOEXEC
        program.call(SYS_open_tree, .literal(AT_FDCWD), program.text(device.path), .literal(flags), into: registers.tree)
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
        guard hasOwnDevices else { return terminal }
        program.stage("/dev/console")
        let console = openConsole()
        program.copyMount(terminal, recursive: false, into: registers.tree)
        program.attachMount(.register(registers.tree), to: console)
        return terminal
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
    /// As mknod(2) takes it (`new_encode_dev` of linux/kdev_t.h).
    var number: Int32 {
        let major = UInt32(truncatingIfNeeded: major ?? 0)
        let minor = UInt32(truncatingIfNeeded: minor ?? 0)
        return Int32(bitPattern: minor & 0xff | major << 8 | (minor & ~0xff) << 12)
    }
}
