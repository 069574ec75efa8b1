import Linux

/// One of this host's cgroup hierarchies (cgroups(7)): several of version 1, each with its controllers, or the one of version 2, or both.
struct CgroupHierarchy: Sendable, Equatable {
    /// Version 1's, `cpu` or `name=systemd`; empty for version 2, whose cgroups say themselves what they have.
    let controllers: Set<String>
    let mountPoint: String
    /// This process's cgroup, as a path below the mount point.
    let own: String

    var isUnified: Bool { controllers.isEmpty }

    /// Those of this process's mount namespace.
    static func all() -> [CgroupHierarchy] {
        let cgroups = (try? Descriptor.open("/proc/self/cgroup", 0).readToEnd(limit: 64 << 10)).map { String(decoding: $0, as: UTF8.self) }
        return all(mounts: MountEntry.own(), cgroups: cgroups ?? "")
    }

    /// - Parameters:
    ///   - mounts: of the namespace.
    ///   - cgroups: `/proc/PID/cgroup`, lines of `number:controllers:path`.
    static func all(mounts: [MountEntry], cgroups: String) -> [CgroupHierarchy] {
        var own: [Set<String>: String] = [:]
        for line in cgroups.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            own[Set(parts[1].split(separator: ",").map(String.init))] = String(parts[2])
        }
        var found: [CgroupHierarchy] = []
        for mount in mounts where mount.type == "cgroup" || mount.type == "cgroup2" {
            let options = Set(mount.fileSystemOptions.map(String.init))
            guard let (controllers, path) = own.first(where: { mount.type == "cgroup2" ? $0.key.isEmpty : !$0.key.isEmpty && $0.key.isSubset(of: options) }),
                !found.contains(where: { $0.controllers == controllers })
            else { continue }
            found.append(CgroupHierarchy(controllers: controllers, mountPoint: mount.place, own: below(mount.root, path)))
        }
        return found
    }

    /// A container that has hierarchies bound into it sees the path of its own cgroup, but not the way there.
    private static func below(_ root: String, _ path: String) -> String {
        guard root != "/", path == root || path.hasPrefix(root + "/") else { return path }
        return path == root ? "/" : String(path.dropFirst(root.count))
    }
}
