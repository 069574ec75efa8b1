import CLinux
import Glibc
import Linux
import OCI

extension ContainerProgram {
    /// One entry of `mounts`. Its target is found inside the root, link by link, and made if it is missing.
    mutating func mount(_ index: Int) {
        let mount = mounts[index]
        let plan = MountPlan(mount.options)
        program.stage("mounts[\(index)] \(mount.destination)")
        if plan.isRemount {
            openTarget(index)
            remount(mount, plan)
        } else if mount.isBind {
            openTarget(index)
            bind(index, plan)
            setPropagation(plan, of: .register(registers.tree))
        } else {
            mountFileSystem(index, plan)
        }
    }

    /// A new file system empties what is below: `/dev` is written to later.
    func isMadeReadOnlyLater(_ mount: Mount) -> Bool {
        guard !mount.isBind, !mount.options.contains("remount"), MountPlan(mount.options).flags & MountFlag.readOnly != 0 else { return false }
        return mount.type == "tmpfs" || mount.normalizedDestination == "/dev"
    }

    private mutating func openTarget(_ index: Int) {
        let destination = mounts[index].normalizedDestination
        let root = SystemCallProgram.Argument.register(registers.root)
        program.openInRoot(root, destination, into: registers.target, tolerating: [.noSuchFileOrDirectory])
        let registers = registers
        let control = inputs.control
        program.onTolerated {
            $0.load(.literal(Int32(truncatingIfNeeded: index)), into: registers.subject)
            $0.stop(at: .target, control: control)
            $0.openInRoot(root, destination, into: registers.target)
        }
    }

    private mutating func bind(_ index: Int, _ plan: MountPlan) {
        let tree = SystemCallProgram.Argument.register(registers.tree)
        let flags = Int32(OPEN_TREE_CLONE) | O_CLOEXEC | (plan.isRecursive ? Int32(AT_RECURSIVE) : 0)
        program.call(SYS_open_tree, .literal(AT_FDCWD), program.text(mounts[index].source), .literal(flags), into: registers.tree)
        setAttributes(plan, of: tree)
        program.attachMount(tree, to: .register(registers.target))
    }

    private mutating func setAttributes(_ plan: MountPlan, of mount: SystemCallProgram.Argument) {
        if !plan.attributes.isEmpty {
            program.setMount(mount, set: plan.attributes.set, clear: plan.attributes.clear, recursive: false)
        }
        if !plan.recursiveAttributes.isEmpty {
            program.setMount(mount, set: plan.recursiveAttributes.set, clear: plan.recursiveAttributes.clear, recursive: true)
        }
    }

    private mutating func setPropagation(_ plan: MountPlan, of mount: SystemCallProgram.Argument) {
        let recursive = MountFlag.recursive
        for kind in plan.propagation {
            program.setMount(mount, propagation: kind & ~recursive, recursive: kind & recursive != 0)
        }
    }

    private mutating func remount(_ mount: Mount, _ plan: MountPlan) {
        // The target is open at the root of the mount on it, so "." names that mount.
        program.call(SYS_fchdir, .register(registers.target))
        let bind = mount.options.contains("bind") ? MountFlag.bind : 0
        program.mount(
            "", on: ".", source: "", flags: plan.flags | bind | MountFlag.remount, data: plan.data.joined(separator: ","))
    }

    private mutating func mountFileSystem(_ index: Int, _ plan: MountPlan) {
        let mount = mounts[index]
        if let made = inputs.made[index] { return attach(made, index) }
        let place = enterTarget(index)
        if plan.copiesUp { return copyUp(index, plan) }
        var flags = plan.flags
        if isMadeReadOnlyLater(mount) { flags &= ~MountFlag.readOnly }
        // A spec written for a v1 host gets v2, whose own options are others.
        let type = mount.type == "cgroup" ? "cgroup2" : mount.type
        let data = mount.type == "cgroup" ? "" : plan.data.joined(separator: ",")
        let source = mount.source.isEmpty ? type : mount.source
        let substitute = substitute(for: mount)
        let refusals: [Errno] = substitute == nil ? [] : [.notPermitted, .resourceBusy]
        program.mount(type, on: place, source: source, flags: flags, data: data, tolerating: refusals)
        if let substitute {
            let registers = registers
            program.onTolerated {
                $0.openInRoot(.register(registers.root), mount.normalizedDestination, into: registers.target)
                let flags = Int32(OPEN_TREE_CLONE) | O_CLOEXEC | Int32(AT_RECURSIVE)
                $0.call(SYS_open_tree, .literal(AT_FDCWD), $0.text(substitute), .literal(flags), into: registers.tree)
                $0.setMount(.register(registers.tree), set: plan.attributes.set, clear: plan.attributes.clear, recursive: false)
                $0.attachMount(.register(registers.tree), to: .register(registers.target))
            }
        }
        afterMount(index, plan)
    }

    /// A file system that is there already, by a mount of its own, whose descriptor is its root directory, too.
    private mutating func attach(_ made: MadeFileSystem, _ index: Int) {
        let destination = mounts[index].normalizedDestination
        let (parent, name) = split(destination)
        if let directory = fresh[parent], !name.isEmpty {
            program.call(SYS_mkdirat, .register(directory), program.text(name), 0o755, tolerating: [.fileExists])
            let flags = O_PATH | O_NOFOLLOW | O_CLOEXEC
            program.call(SYS_openat, .register(directory), program.text(name), .literal(flags), into: registers.target)
        } else {
            openTarget(index)
        }
        let root = program.register()
        program.call(SYS_open_tree, .literal(AT_FDCWD), program.text(made.place), .literal(Int32(OPEN_TREE_CLONE) | O_CLOEXEC), into: root)
        if !made.change.isEmpty { program.setMount(.register(root), set: made.change.set, clear: made.change.clear, recursive: false) }
        for name in made.emptyDirectories { program.call(SYS_unlinkat, .register(root), program.text(name), .literal(AT_REMOVEDIR)) }
        program.attachMount(.register(root), to: .register(registers.target))
        forget(destination)
        if mounts[index].type == "tmpfs" { fresh[destination] = root }
    }

    /// What was known about directories under here is covered now.
    private mutating func forget(_ destination: String) {
        for known in fresh.keys where known == destination || known.hasPrefix(destination + "/") { fresh[known] = nil }
    }

    /// What is shown where a user namespace may not mount: the sysfs of a network stack that is not its own, and in
    /// that one, which has cgroups already, the container's own cgroup.
    private func substitute(for mount: Mount) -> String? {
        guard has(.user) else { return nil }
        switch mount.type {
        case "sysfs": return "/sys"
        case "cgroup", "cgroup2": return inputs.cgroup
        default: return nil
        }
    }

    /// Makes the target the working directory: the path mount(2) is then given.
    private mutating func enterTarget(_ index: Int) -> String {
        let (parent, name) = split(mounts[index].normalizedDestination)
        if let directory = fresh[parent], !name.isEmpty {
            program.call(SYS_mkdirat, .register(directory), program.text(name), 0o755, tolerating: [.fileExists])
            program.call(SYS_fchdir, .register(directory))
            return name
        }
        openTarget(index)
        program.call(SYS_fchdir, .register(registers.target))
        return "."
    }

    private mutating func afterMount(_ index: Int, _ plan: MountPlan) {
        let destination = mounts[index].normalizedDestination
        let isUsed = mounts[(index + 1)...].contains { split($0.normalizedDestination).parent == destination }
        forget(destination)
        let isFresh = mounts[index].type == "tmpfs" && !plan.copiesUp && (isUsed || destination == "/dev")
        guard isFresh || !plan.propagation.isEmpty || !plan.recursiveAttributes.isEmpty else { return }
        let directory = isFresh ? program.register() : registers.target
        program.openInRoot(.register(registers.root), destination, into: directory)
        if isFresh { fresh[destination] = directory }
        setPropagation(plan, of: .register(directory))
        if !plan.recursiveAttributes.isEmpty {
            program.setMount(
                .register(directory), set: plan.recursiveAttributes.set, clear: plan.recursiveAttributes.clear, recursive: true)
        }
    }

    /// A tmpfs that begins with what it covers (runc's `tmpcopyup`): the agent copies before it is attached.
    private mutating func copyUp(_ index: Int, _ plan: MountPlan) {
        let context = program.register()
        program.call(SYS_fsopen, program.text("tmpfs"), 1, into: context)
        for option in plan.data {
            let parts = option.split(separator: "=", maxSplits: 1).map(String.init)
            let key = program.text(parts.first ?? "")
            // FSCONFIG_SET_STRING, FSCONFIG_SET_FLAG, FSCONFIG_CMD_CREATE (linux/mount.h).
            if parts.count == 2 {
                program.call(SYS_fsconfig, .register(context), 1, key, program.text(parts[1]), 0)
            } else {
                program.call(SYS_fsconfig, .register(context), 0, key, 0, 0)
            }
        }
        program.call(SYS_fsconfig, .register(context), 6, 0, 0, 0)
        var attributes = plan.attributes.set
        if isMadeReadOnlyLater(mounts[index]) { attributes &= ~UInt64(MOUNT_ATTR_RDONLY) }
        program.call(SYS_fsmount, .register(context), 1, .literal(Int32(truncatingIfNeeded: attributes)), into: registers.tree)
        if split(mounts[index].normalizedDestination).parent != "/", fresh[split(mounts[index].normalizedDestination).parent] != nil { openTarget(index) }
        program.load(.literal(Int32(truncatingIfNeeded: index)), into: registers.subject)
        program.stop(at: .copyUp, control: inputs.control)
        program.attachMount(.register(registers.tree), to: .register(registers.target))
        afterMount(index, plan)
    }

    /// Masked and read-only paths (config-linux.md): what is not there needs no covering.
    mutating func restrictPaths() {
        let absent = hasProc ? inputs.absentPaths : []
        for path in linux.maskedPaths where !absent.contains(path) { mask(path) }
        for path in linux.readonlyPaths where !absent.contains(path) { makeReadOnly(path) }
    }

    /// What is at `/proc` is a procfs.
    private var hasProc: Bool {
        let last = mounts.last { ["/", "/proc"].contains($0.normalizedDestination) && !$0.options.contains("remount") }
        return last.map { $0.type == "proc" && !$0.isBind } ?? false
    }

    /// Whether a path is an entry of procfs that is no process's.
    static func isOfProc(_ path: String) -> Bool {
        let name = path.dropFirst("/proc/".count)
        return path.hasPrefix("/proc/") && name.first?.isNumber == false && !name.contains("/")
    }

    private mutating func mask(_ path: String) {
        program.stage("maskedPaths \(path)")
        let registers = registers
        let emptyDirectory = inputs.emptyDirectory
        program.openInRoot(.register(registers.root), path, into: registers.target, tolerating: [.noSuchFileOrDirectory, .notDirectory])
        program.onSuccess { program in
            // The agent's null device, which a root file system cannot replace by something else (CVE-2025-31133).
            let flags = Int32(OPEN_TREE_CLONE) | O_CLOEXEC
            program.call(SYS_open_tree, .literal(AT_FDCWD), program.text("/dev/null"), .literal(flags), into: registers.tree)
            // EINVAL: a directory, which only a directory can cover.
            program.attachMount(.register(registers.tree), to: .register(registers.target), tolerating: [.invalidArgument])
            program.onTolerated {
                if let emptyDirectory {
                    $0.call(SYS_open_tree, .literal(AT_FDCWD), $0.text(emptyDirectory), .literal(flags), into: registers.tree)
                    return $0.attachMount(.register(registers.tree), to: .register(registers.target))
                }
                $0.call(SYS_fchdir, .register(registers.target))
                $0.mount("tmpfs", on: ".", source: "tmpfs", flags: MountFlag.readOnly)
            }
        }
    }

    private mutating func makeReadOnly(_ path: String) {
        program.stage("readonlyPaths \(path)")
        let registers = registers
        program.openInRoot(.register(registers.root), path, into: registers.target, tolerating: [.noSuchFileOrDirectory, .notDirectory])
        program.onSuccess {
            $0.copyMount(.register(registers.target), recursive: true, into: registers.tree)
            $0.setMount(.register(registers.tree), set: UInt64(MOUNT_ATTR_RDONLY), recursive: false)
            $0.attachMount(.register(registers.tree), to: .register(registers.target))
        }
    }

    /// Parent and last part of a normalized path.
    func split(_ path: String) -> (parent: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return ("/", path) }
        return (slash == path.startIndex ? "/" : String(path[..<slash]), String(path[path.index(after: slash)...]))
    }
}
