import Glibc
import Linux
import OCI

/// The host's namespaces that a container's process on this host is in: new ones, or those the spec names.
///
/// Nothing of the container runs in them. Engines look at them (`/proc/PID/ns`), join other containers to them, and put
/// the network into them.
public struct StandInNamespaces: Codable, Sendable, Equatable {
    public var joined: [LinuxNamespace] = []
    public var new: [LinuxNamespaceType] = []
    public var uidMappings: [LinuxIDMapping] = []
    public var gidMappings: [LinuxIDMapping] = []

    /// - Parameter isPrivileged: none of them can be had without rights, and none is needed.
    init(_ linux: LinuxConfig?, isPrivileged: Bool = effectiveUserID() == 0) {
        guard let linux, isPrivileged else { return }
        // Clocks are the guest's: the host's are given to children only, and this process has none.
        let all = linux.namespaces.filter { $0.type != .time }
        joined = all.filter { !$0.path.isEmpty }
        new = all.filter { $0.path.isEmpty }.map(\.type)
        guard new.contains(.user) else { return }
        uidMappings = linux.uidMappings
        gidMappings = linux.gidMappings
    }

    /// A process gets these at its birth or never.
    var flagsAtBirth: Int32 { new.contains(.pid) ? NamespaceFlag.pid : 0 }

    /// For processes beside it; it is in the PID namespace itself, they would have their children in it only.
    var flagsToJoin: Int32 { (joined.map(\.type) + new).filter { $0 != .pid }.reduce(0) { $0 | $1.flag } }

    /// Opens the PID namespace to be born in.
    func pidNamespace() throws(SandboxError) -> Descriptor? {
        try joined.first { $0.type == .pid }.map { namespace throws(SandboxError) in try Self.open(namespace) }
    }

    /// Moves this process into the rest of them, those of the spec first: afterwards it may have no rights for it.
    func enterRest() throws {
        let files = try joined.filter { $0.type != .pid }.sorted { $1.type == .user && $0.type != .user }.map { ($0, try Self.open($0)) }
        for (namespace, file) in files {
            do throws(SystemError) { try enter(file, namespace.type.flag) } catch {
                throw SandboxError(.badInput, "linux.namespaces: \(namespace.type.rawValue): \(namespace.path): \(error.errno)")
            }
        }
        let flags = new.filter { $0 != .pid }.reduce(0) { $0 | $1.flag }
        if flags != 0 { try enterNew(flags) }
        // What hooks mount here is not this host's; what is mounted on it later is seen here too.
        if new.contains(.mount) { try mountFileSystem("", on: "/", source: "", flags: MountFlag.slave | MountFlag.recursive) }
    }

    /// Writes the maps of process `pid`'s new user namespace.
    func writeMaps(_ pid: Int32) throws {
        for (file, mappings) in [("uid_map", uidMappings), ("gid_map", gidMappings)] where !mappings.isEmpty {
            let lines = mappings.map { "\($0.containerID) \($0.hostID) \($0.size)\n" }.joined()
            do throws(SystemError) { _ = try Descriptor.open("/proc/\(pid)/\(file)", O_WRONLY).write(Array(lines.utf8)) } catch {
                throw SandboxError(.badInput, "linux.\(file == "uid_map" ? "uidMappings" : "gidMappings"): \(error.errno)")
            }
        }
    }

    private static func open(_ namespace: LinuxNamespace) throws(SandboxError) -> Descriptor {
        do throws(SystemError) { return try Descriptor.open(namespace.path, O_RDONLY | O_NONBLOCK) } catch {
            throw SandboxError(.missing(error.errno), "linux.namespaces: \(namespace.type.rawValue): \(namespace.path): \(error.errno)")
        }
    }
}

extension LinuxNamespaceType {
    fileprivate var flag: Int32 {
        switch self {
        case .pid: NamespaceFlag.pid
        case .network: NamespaceFlag.network
        case .mount: NamespaceFlag.mount
        case .ipc: NamespaceFlag.ipc
        case .uts: NamespaceFlag.uts
        case .user: NamespaceFlag.user
        case .cgroup: NamespaceFlag.cgroup
        case .time: 0
        }
    }
}
