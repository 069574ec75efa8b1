import AgentAPI
public import OCI

/// What a sandbox needs for one container: the machine's size, the host's files it may see, and the spec as the guest reads it.
///
/// Pure: nothing on the host is changed, and only ``SourceKind``s and mounts are asked for.
public struct Plan: Sendable, Equatable {
    /// A directory or file of the host that appears in the guest as `/run/microvm/shares/NAME`.
    public struct Share: Sendable, Equatable, Codable {
        public let name: String
        /// Absolute, on the host.
        public let path: String
        public let readOnly: Bool
        /// What is mounted below it can be changed all the same.
        public var exceptSubmounts = false
        /// What this host mounts below it later, or unmounts, is seen too.
        public var followsMounts = false
        /// Whose its files are, if not whose they are on the host.
        public var idMap: MountIDMap?
        /// The spec's field that asks for it.
        public let field: String

        /// As the VMM is told (CachePolicy of its file server). Only a root file system's files may be mapped: others are truncated on the host now and then,
        /// which would end the guest.
        func mode(_ cache: ShareCache) -> [String] {
            [readOnly ? exceptSubmounts ? "ro-root" : "ro" : "rw", cache.rawValue] + (isRoot ? ["mapped"] : [])
        }

        /// Of the container: engines mount it for the container, hooks mount into it, and it goes after the machine.
        var isRoot: Bool { field == Plan.rootField }

        /// Whether it is the same files, to be used in the same way.
        fileprivate func shows(_ other: Share) -> Bool {
            (path, readOnly, exceptSubmounts, followsMounts) == (other.path, other.readOnly, other.exceptSubmounts, other.followsMounts)
                && idMap == other.idMap
        }
    }

    public var size: MachineSize
    public var shares: [Share]
    /// With guest paths, and without what belongs to the host.
    public var guestSpec: Spec
    /// Sources of the guest's mounts that are single files.
    private var files: Set<String> = []

    static let rootShare = "rootfs"
    private static let rootField = "root.path"
    /// Before the names of shares, where several containers' are in one machine.
    private let prefix: String

    /// - Parameters:
    ///   - rootfs: absolute path on the host.
    ///   - cpus, memory: the operator's choice.
    ///   - softwareKVM: KVM interprets the guest kernel.
    ///   - prefix: tells its shares from those of others in the machine.
    ///   - kind: what the source of a bind mount is.
    ///   - submounts: what is mounted below it and can be written to, as paths below it.
    public init(
        _ bundle: Bundle, rootfs: String, cpus: Int?, memory: Int?, softwareKVM: Bool, prefix: String = "", kind: (String) throws(SandboxError) -> SourceKind,
        submounts: (String) -> [String]
    ) throws(SandboxError) {
        let spec = bundle.spec
        self.prefix = prefix
        size = try MachineSize(spec, cpus: cpus, memory: memory, softwareKVM: softwareKVM)
        let readOnly = spec.root?.readonly ?? false
        shares = [Share(name: prefix + Self.rootShare, path: rootfs, readOnly: readOnly, field: Self.rootField)]
        guestSpec = spec
        guestSpec.root = Root(path: Self.guestPath(prefix + Self.rootShare), readonly: readOnly)
        guestSpec.mounts = []
        for (index, mount) in spec.mounts.enumerated() {
            try add(mount, at: index, bundle: bundle.path, kind: kind, submounts: submounts)
        }
        removeHostParts()
    }

    private mutating func add(
        _ mount: Mount, at index: Int, bundle: String, kind: (String) throws(SandboxError) -> SourceKind, submounts: (String) -> [String]
    ) throws(SandboxError) {
        guard mount.isBind else { return guestSpec.mounts.append(mount) }
        let field = "mounts[\(index)].source"
        let source = mount.source.hasPrefix("/") ? mount.source : "\(bundle)/\(mount.source)"
        let found: SourceKind
        do throws(SandboxError) { found = try kind(source) } catch { throw SandboxError(error.kind, "\(field): \(error)") }
        switch found {
        case .directory where mount.destination == "/dev/shm", .hostMemory where mount.destination == "/dev/shm":
            // Engines share one tmpfs of the host among a pod's containers; memory cannot be mapped across machines.
            guestSpec.mounts.append(Self.sharedMemory(mount, found))
        case .directory, .hostMemory, .file:
            let writable = found != .file && mount.isReadOnlyAtRoot ? submounts(source) : []
            let share = try share(source, mount, exceptSubmounts: !writable.isEmpty, at: index)
            // The host has mapped them.
            var guestMount = mount.withoutIDMap
            guestMount.source = Self.guestPath(share.name, of: source)
            if found == .file { files.insert(guestMount.source) }
            guestSpec.mounts.append(guestMount)
            // The guest's kernel mounts them where it meets them, like what they are met in: read-only.
            for path in writable {
                guestSpec.mounts.append(
                    Mount(destination: "\(mount.destination)/\(path)", type: "bind", source: "\(guestMount.source)/\(path)", options: ["bind"]))
            }
        case .characterDevice(let major, let minor):
            guard SourceKind.memoryDevices.contains([major, minor]) else {
                throw SandboxError(.badInput, "\(field): \(source) is a device of the host, which a virtual machine does not have")
            }
            if guestSpec.linux == nil { guestSpec.linux = LinuxConfig() }
            var device = LinuxDevice(path: mount.destination, type: .character, major: Int64(major), minor: Int64(minor))
            device.fileMode = 0o666
            guestSpec.linux?.devices.append(device)
        case .other(let what):
            throw SandboxError(.badInput, "\(field): \(source) is a \(what), which cannot be shared with a virtual machine")
        }
    }

    /// The share of a bind mount's source: one for all mounts of it, in which a file is one file.
    private mutating func share(_ source: String, _ mount: Mount, exceptSubmounts: Bool, at index: Int) throws(SandboxError) -> Share {
        let idMap: MountIDMap?
        do { idMap = try mount.idMap(guestSpec.linux) } catch { throw SandboxError(.badInput, "mounts[\(index)].\(error)") }
        let share = Share(
            name: "\(prefix)mount\(index)", path: source, readOnly: mount.isReadOnly, exceptSubmounts: exceptSubmounts, followsMounts: mount.followsMounts,
            idMap: idMap, field: "mounts[\(index)].source")
        if let known = shares.first(where: { $0.shows(share) && !$0.isRoot }) { return known }
        shares.append(share)
        return share
    }

    /// Whether what is mounted is a file of the host.
    func isFile(_ mount: Mount) -> Bool { files.contains(mount.source) }

    /// Hooks that have run or will run on the host, and names of the host's kernel objects.
    private mutating func removeHostParts() {
        guestSpec.hooks?.prestart = []
        guestSpec.hooks?.createRuntime = []
        guestSpec.hooks?.poststart = []
        guestSpec.hooks?.poststop = []
        guestSpec.vm = nil
        guestSpec.annotations = [:]
        guard let linux = guestSpec.linux else { return }
        guestSpec.linux?.namespaces = linux.namespaces.map { LinuxNamespace(type: $0.type) }
        // The host's CPUs: the machine runs on them.
        guestSpec.linux?.resources?.removeHostParts()
        // systemd's form, slice:prefix:name, means nothing to the guest.
        if linux.cgroupsPath.contains(":") { guestSpec.linux?.cgroupsPath = "" }
    }

    private static func sharedMemory(_ mount: Mount, _ source: SourceKind) -> Mount {
        var options = mount.withoutIDMap.options.filter { !["bind", "rbind"].contains($0) && !$0.hasSuffix("private") && !$0.hasSuffix("slave") && !$0.hasSuffix("shared") }
        options.append("mode=1777")
        if case .hostMemory(let size) = source { options.append("size=\(size)") }
        return Mount(destination: mount.destination, type: "tmpfs", source: "shm", options: options)
    }

    private static func guestPath(_ share: String) -> String { "\(AgentAddress.sharesDirectory)/\(share)" }

    /// Of a bind mount's source: with its name, which programs read in mountinfo (FUSE's ShareTable has it under any name in `NAME@`).
    private static func guestPath(_ share: String, of source: String) -> String {
        guard let name = source.split(separator: "/").last, name != ".", name != ".." else { return guestPath(share) }
        return "\(guestPath(share))@/\(name)"
    }
}

extension Mount {
    /// The type says nothing then (config.md: "bind" and "none" are customary).
    var isBind: Bool { options.contains("bind") || options.contains("rbind") || type == "bind" }

    /// Whether everything below is; the last of contradictory options counts.
    var isReadOnly: Bool { options.last { ["ro", "rw", "rro", "rrw"].contains($0) }.map { $0.hasSuffix("ro") } ?? false }

    /// Whether it is a peer or slave of the host's mount; the last of contradictory options counts.
    var followsMounts: Bool {
        let kinds = ["private", "unbindable", "slave", "shared"]
        return options.last { option in kinds.contains { option == $0 || option == "r" + $0 } }.map { $0.hasSuffix("slave") || $0.hasSuffix("shared") } ?? false
    }

    /// As it is mounted where its files have their ids already.
    fileprivate var withoutIDMap: Mount {
        var mount = self
        mount.options.removeAll { Mount.isIDMapOption($0) }
        mount.uidMappings = []
        mount.gidMappings = []
        return mount
    }

    /// Whether what is mounted below is not (runc, and mount(8) by default).
    var isReadOnlyAtRoot: Bool { isReadOnly && options.contains("rbind") && !options.contains("rro") }
}

extension LinuxResources {
    /// What counts the host's CPUs and memory nodes.
    mutating func removeHostParts() {
        cpu?.cpus = ""
        cpu?.mems = ""
    }
}
