import Glibc
import Linux
import OCI

/// Device nodes of the agent's, for a container whose own mknod(2) is refused: it shows them at their places by bind mounts.
///
/// They go with this object; the mounts keep them.
final class DeviceNodes {
    /// Not `/run`, which has no devices.
    private static let parent = "/dev"

    private let parent: Descriptor
    private let directory: Descriptor
    private let name: String
    private let count: Int

    /// - Parameter id: the container's; nobody else has a directory of that name.
    init(_ devices: [LinuxDevice], of id: String, _ linux: LinuxConfig) throws(SystemError) {
        name = Self.name(id)
        count = devices.count
        parent = try Descriptor.open(Self.parent, O_RDONLY | O_DIRECTORY)
        // The child looks in it as another user.
        try parent.makeDirectory(name, mode: 0o711)
        directory = try Descriptor.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: parent)
        for (index, device) in devices.enumerated() {
            try check(mknodat(directory.raw, "\(index)", mode_t(device.mode), dev_t(UInt32(bitPattern: device.number))), "mknod \(device.path)")
            // Whatever the umask is.
            try check(fchmodat(directory.raw, "\(index)", mode_t(device.mode) & 0o7777, 0), "chmod \(device.path)")
            let uid = User.map(device.uid ?? 0, linux.uidMappings)
            let gid = User.map(device.gid ?? 0, linux.gidMappings)
            try check(fchownat(directory.raw, "\(index)", uid, gid, AT_SYMLINK_NOFOLLOW), "chown \(device.path)")
        }
    }

    deinit {
        for index in 0..<count { try? directory.remove("\(index)") }
        try? parent.remove(name, isDirectory: true)
    }

    private static func name(_ id: String) -> String { ".devices-\(id)" }

    /// Where the child finds the node of number `index`.
    static func path(_ index: Int, of id: String) -> String { "\(parent)/\(name(id))/\(index)" }
}
