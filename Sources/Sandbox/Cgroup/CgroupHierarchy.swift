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
        all(mounts: contents("/proc/self/mountinfo"), cgroups: contents("/proc/self/cgroup"))
    }

    /// - Parameters:
    ///   - mounts: `/proc/PID/mountinfo` (proc(5)).
    ///   - cgroups: `/proc/PID/cgroup`, lines of `number:controllers:path`.
    static func all(mounts: String, cgroups: String) -> [CgroupHierarchy] {
        var own: [Set<String>: String] = [:]
        for line in cgroups.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            own[Set(parts[1].split(separator: ",").map(String.init))] = String(parts[2])
        }
        var found: [CgroupHierarchy] = []
        for line in mounts.split(separator: "\n") {
            let parts = line.split(separator: " ").map(String.init)
            guard let dash = parts.firstIndex(of: "-"), dash >= 6, parts.count > dash + 3 else { continue }
            let (root, mountPoint, type) = (parts[3], parts[4], parts[dash + 1])
            guard type == "cgroup" || type == "cgroup2" else { continue }
            let options = Set(parts[dash + 3].split(separator: ",").map(String.init))
            guard let (controllers, path) = own.first(where: { type == "cgroup2" ? $0.key.isEmpty : !$0.key.isEmpty && $0.key.isSubset(of: options) }),
                !found.contains(where: { $0.controllers == controllers })
            else { continue }
            found.append(CgroupHierarchy(controllers: controllers, mountPoint: mountPoint, own: below(root, path)))
        }
        return found
    }

    /// A container that has hierarchies bound into it sees the path of its own cgroup, but not the way there.
    private static func below(_ root: String, _ path: String) -> String {
        guard root != "/", path == root || path.hasPrefix(root + "/") else { return path }
        return path == root ? "/" : String(path.dropFirst(root.count))
    }

    private static func contents(_ path: String) -> String {
        (try? Descriptor.open(path, 0).readToEnd(limit: 4 << 20)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
