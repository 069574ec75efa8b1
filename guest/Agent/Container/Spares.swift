import CLinux
import Glibc
import Linux
import OCI

/// Parts of containers that take long to make, made ahead of the container that wants the very same: in a machine that is about to
/// become a template, so that none of its clones makes them.
///
/// Each is taken once. Who finds none makes its own, so nothing here can fail a container.
final class Spares {
    /// A file system that is mounted nowhere yet.
    private struct FileSystem {
        let mount: Mount
        /// What is in it, for `/dev`.
        let devices: [LinuxDevice]
        let tree: Descriptor
    }

    private var fileSystems: [FileSystem] = []
    private var ipcNamespace: Descriptor?

    var count: Int { fileSystems.count + (ipcNamespace == nil ? 0 : 1) }

    /// Makes what a container of this spec can take, instead of what there was.
    func make(for spec: Spec) {
        fileSystems = spec.mounts.filter { Self.isAlone($0) }.compactMap { mount in
            (try? Self.mount(mount)).flatMap { tree in
                let devices = mount.isDevices ? spec.devices : []
                if mount.isDevices { do { try DeviceDirectory.fill(tree, for: spec) } catch { return nil } }
                return FileSystem(mount: mount, devices: devices, tree: tree)
            }
        }
        ipcNamespace = try? Self.newIPCNamespace()
    }

    /// Takes what the mounts of `spec` ask for, by their places among them.
    func takeFileSystems(for spec: Spec) -> [Int: Descriptor] {
        // File systems belong to the user namespace they are made in.
        if spec.linux?.namespaces.contains(where: { $0.type == .user }) == true { return [:] }
        var taken: [Int: Descriptor] = [:]
        for (index, mount) in spec.mounts.enumerated() {
            let devices = mount.isDevices ? spec.devices : []
            guard let found = fileSystems.firstIndex(where: { $0.mount == mount && $0.devices == devices }) else { continue }
            taken[index] = fileSystems.remove(at: found).tree
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

    private static func mount(_ mount: Mount) throws(SystemError) -> Descriptor {
        let plan = MountPlan(mount.options)
        return try .mount(
            newFileSystem: mount.type, source: mount.source.isEmpty ? mount.type : mount.source, options: plan.data, attributes: plan.attributes.set)
    }

    private static func newIPCNamespace() throws(SystemError) -> Descriptor {
        let path = "/proc/thread-self/ns/ipc"
        let own = try Descriptor.open(path, O_RDONLY)
        try enterNew(CLONE_NEWIPC)
        defer { try? enter(own, CLONE_NEWIPC) }
        return try Descriptor.open(path, O_RDONLY)
    }
}

extension Mount {
    fileprivate var isDevices: Bool { normalizedDestination == "/dev" }
}
