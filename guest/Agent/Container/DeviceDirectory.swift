import CLinux
import Glibc
import Linux
import OCI

/// What a new `/dev` has in it before anything is mounted there (config-linux.md, Default Devices and Dev symbolic links).
enum DeviceDirectory {
    static let links = [
        ("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("/proc/self/fd/1", "stdout"), ("/proc/self/fd/2", "stderr"),
        ("pts/ptmx", "ptmx"),
    ]

    /// Makes the nodes, links and mount points of a container of this spec.
    ///
    /// - Throws: for a device that is not right in `/dev`, too.
    static func fill(_ directory: Descriptor, for spec: Spec) throws(SystemError) {
        for name in mountPoints(of: spec) { try directory.makeDirectory(name, mode: 0o755) }
        for device in spec.devices {
            guard let name = nameInDevices(Mount(destination: device.path).normalizedDestination) else {
                throw SystemError("device \(device.path)", .notSupported)
            }
            try check(mknodat(directory.raw, name, mode_t(device.mode), dev_t(UInt32(bitPattern: device.number))), "mknod \(device.path)")
            // Whatever the umask is.
            try check(fchmodat(directory.raw, name, mode_t(device.mode) & 0o7777, 0), "chmod \(device.path)")
            try check(fchownat(directory.raw, name, device.uid ?? 0, device.gid ?? 0, AT_SYMLINK_NOFOLLOW), "chown \(device.path)")
        }
        for (target, name) in links { try check(symlinkat(target, directory.raw, name), "link \(name)") }
    }

    /// Names of what a container of this spec mounts right in its `/dev`.
    static func mountPoints(of spec: Spec) -> [String] { spec.mounts.compactMap { nameInDevices($0.normalizedDestination) } }

    private static func nameInDevices(_ path: String) -> String? {
        guard path.hasPrefix("/dev/") else { return nil }
        let name = String(path.dropFirst(5))
        return name.contains("/") ? nil : name
    }
}
