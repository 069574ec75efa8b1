import Linux

/// What is mounted below directories of this host, which is looked up once.
final class Submounts {
    private lazy var mounts = MountEntry.own()

    /// Those that can be written to, as paths below `directory`, those further up first.
    func writable(below directory: String) -> [String] {
        guard let place = try? Descriptor.openPath(directory), let resolved = withExtendedLifetime(place, { try? readLink("/proc/self/fd/\(place.raw)") })
        else { return [] }
        return Self.candidates(below: resolved, mounts).filter { Self.isVisible($0.mount, at: resolved + "/" + $0.path) }.map(\.path)
    }

    static func candidates(below directory: String, _ mounts: [MountEntry]) -> [(path: String, mount: UInt64)] {
        let prefix = directory == "/" ? "/" : directory + "/"
        let found = mounts.filter { mount in
            !ofKernel.contains(mount.type) && mount.options.first == "rw" && mount.fileSystemOptions.first == "rw"
                && mount.place.hasPrefix(prefix) && mount.place.count > prefix.count
        }
        return found.map { (path: String($0.place.dropFirst(prefix.count)), mount: $0.id) }
            .sorted { $0.path.split(separator: "/").count < $1.path.split(separator: "/").count }
    }

    /// Interfaces of this host's kernel, not files: nobody who asks for a read-only `/` of the host wants to write to them. There are dozens.
    private static let ofKernel: Set<String> = [
        "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "fusectl", "hugetlbfs", "mqueue", "nsfs",
        "proc", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tracefs",
    ]

    /// Another may have been mounted over it, or over what is above it.
    private static func isVisible(_ mount: UInt64, at path: String) -> Bool { (try? Descriptor.openPath(path).metadata().mount) == mount }
}
