import CLinux
import Glibc
import Linux
import OCI

/// Parts of containers that take long to make, made ahead of the container that wants the very same: in a machine that is about to
/// become a template, so that none of its clones makes them.
///
/// Each is taken once. Who finds none makes its own, so nothing here can fail a container.
final class Spares {
    /// For places of file systems; nil: none are made.
    private let directory: String?
    private var fileSystems: [SpareFileSystem] = []
    private var ipcNamespace: Descriptor?
    /// Paths of procfs that this kernel does not have, of those that the spec last made for keeps its container from.
    private(set) var absentPaths: Set<String> = []

    var count: Int { fileSystems.count + (ipcNamespace == nil ? 0 : 1) }

    init(in directory: String?) {
        self.directory = directory
    }

    /// Makes what a container of this spec can take, instead of what there was.
    func make(for spec: Spec) {
        fileSystems = []
        if let directory {
            fileSystems = spec.mounts.enumerated().filter { Self.isAlone($1) }.compactMap { index, mount in
                try? SpareFileSystem(mount, for: spec, at: "\(directory)/\(index)")
            }
        }
        ipcNamespace = try? Self.newIPCNamespace()
        absentPaths = Self.absentPaths(of: spec)
    }

    /// Takes what the mounts of `spec` ask for, by their places among them.
    func takeFileSystems(for spec: Spec) -> [Int: SpareFileSystem] {
        // File systems belong to the user namespace they are made in.
        if spec.linux?.namespaces.contains(where: { $0.type == .user }) == true { return [:] }
        var taken: [Int: SpareFileSystem] = [:]
        for (index, mount) in spec.mounts.enumerated() {
            guard Self.isAlone(mount), let found = fileSystems.firstIndex(where: { $0.suits(mount, of: spec) }) else { continue }
            taken[index] = fileSystems.remove(at: found)
        }
        return taken
    }

    /// Takes a namespace nobody is in, for a container that wants a new one.
    func takeIPCNamespace(for spec: Spec) -> Descriptor? {
        let namespaces = spec.linux?.namespaces ?? []
        guard namespaces.contains(where: { $0.type == .ipc && $0.path.isEmpty }), !namespaces.contains(where: { $0.type == .user }) else { return nil }
        defer { ipcNamespace = nil }
        return ipcNamespace
    }

    /// Whether the file system is nobody else's, and depends on no namespace.
    private static func isAlone(_ mount: Mount) -> Bool {
        let plan = MountPlan(mount.options)
        guard mount.type == "tmpfs" || mount.type == "devpts" && mount.options.contains("newinstance") else { return false }
        return plan.hasOnlyAttributes && !mount.options.contains("ro")
    }

    /// A look at a name that is not there costs 3.7 ms where ring 0 is interpreted, and a container makes eight.
    private static func absentPaths(of spec: Spec) -> Set<String> {
        // A kernel that loads modules may have them later.
        guard isAbsent("/proc/modules"), let linux = spec.linux else { return [] }
        return Set((linux.maskedPaths + linux.readonlyPaths).filter { ContainerProgram.isOfProc($0) && isAbsent($0) })
    }

    private static func isAbsent(_ path: String) -> Bool { access(path, F_OK) != 0 && errno == ENOENT }

    private static func newIPCNamespace() throws(SystemError) -> Descriptor {
        let path = "/proc/thread-self/ns/ipc"
        let own = try Descriptor.open(path, O_RDONLY)
        try enterNew(CLONE_NEWIPC)
        defer { try? enter(own, CLONE_NEWIPC) }
        return try Descriptor.open(path, O_RDONLY)
    }
}

/// A file system that no container has yet, mounted where the namespaces of containers have a copy of it.
///
/// A container mounts it anew, with attributes of its own: since Linux 6.8 mounts are listed by age, which programs take for the order
/// in which they were made.
final class SpareFileSystem {
    private let place: String
    private let mount: Mount
    private let attributes: UInt64
    /// What is in it, for `/dev`.
    private let devices: [LinuxDevice]
    private let mountPoints: [String]

    init(_ mount: Mount, for spec: Spec, at place: String) throws(SystemError) {
        self.place = place
        self.mount = mount
        devices = mount.isDevices ? spec.devices : []
        mountPoints = mount.isDevices ? DeviceDirectory.mountPoints(of: spec) : []
        attributes = MountPlan(mount.options).attributes.set
        if mkdir(place, 0o700) != 0, errno != EEXIST { throw SystemError.current("mkdir \(place)") }
        let plan = MountPlan(mount.options)
        let tree = try Descriptor.mount(
            newFileSystem: mount.type, source: mount.source.isEmpty ? mount.type : mount.source, options: plan.data, attributes: plan.attributes.set)
        if mount.isDevices { try DeviceDirectory.fill(tree, for: spec) }
        try tree.attachMount(place)
    }

    deinit {
        try? unmountFileSystem(place, flags: Int32(MNT_DETACH))
    }

    /// Whether it is what `mount` asks for, but for the attributes of the mount itself and for what is mounted in it.
    func suits(_ mount: Mount, of spec: Spec) -> Bool {
        self.mount.fileSystem == mount.fileSystem && devices == (mount.isDevices ? spec.devices : [])
    }

    /// How a container of this spec comes by it.
    func made(for mount: Mount, of spec: Spec) -> ContainerProgram.MadeFileSystem {
        let wanted = mount.isDevices ? DeviceDirectory.mountPoints(of: spec) : []
        return ContainerProgram.MadeFileSystem(
            place: place, change: MountPlan.Attributes(from: attributes, to: MountPlan(mount.options).attributes.set),
            emptyDirectories: mountPoints.filter { !wanted.contains($0) })
    }
}

extension Mount {
    fileprivate var isDevices: Bool { normalizedDestination == "/dev" }

    /// Without what is the mount's alone, and can be changed.
    fileprivate var fileSystem: Mount {
        var mount = self
        mount.options = MountPlan(options).data
        return mount
    }
}
