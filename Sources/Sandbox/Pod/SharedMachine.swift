import Linux
import OCI

/// The machine of another sandbox that a container belongs into: the one whose process on this host is in the network namespace
/// the container is to join (a pod's containers, `--network container:`). Machines cannot share an interface, and containers that
/// share a network expect each other at localhost; so they share the machine.
struct SharedMachine {
    let directory: StateDirectory
    let record: SandboxRecord

    /// - Returns: nil when the container has a network namespace of its own, or one that no machine has.
    static func find(_ linux: LinuxConfig?, in root: StateRoot) -> SharedMachine? {
        guard let network = linux?.namespaces.first(where: { $0.type == .network && !$0.path.isEmpty }), let wanted = try? NamespaceIdentity(network.path),
            wanted != (try? NamespaceIdentity("/proc/self/ns/net"))
        else { return nil }
        for id in root.ids() {
            guard let directory = try? StateDirectory.open(id, in: root), let record = try? directory.read(), record.machineOf == nil,
                [.created, .running, .paused].contains(record.status), (try? NamespaceIdentity("/proc/\(record.pid)/ns/net")) == wanted
            else { continue }
            return SharedMachine(directory: directory, record: record)
        }
        return nil
    }

    /// The container's namespaces as the guest knows them: those it shares on this host with the machine's first container it shares there.
    func guestNamespaces(_ namespaces: [LinuxNamespace]) -> [LinuxNamespace] {
        namespaces.map { namespace in
            guard !namespace.path.isEmpty, [.ipc, .uts, .pid].contains(namespace.type), let guestPID = record.guestPID,
                let wanted = try? NamespaceIdentity(namespace.path),
                wanted == (try? NamespaceIdentity("/proc/\(record.pid)/ns/\(namespace.type.rawValue)"))
            else { return LinuxNamespace(type: namespace.type) }
            return LinuxNamespace(type: namespace.type, path: "/proc/\(guestPID)/ns/\(namespace.type.rawValue)")
        }
    }
}
