import Glibc
import Linux
import OCI

/// Places for mounts in a root file system that the guest sees read-only and cannot make them in.
///
/// The root file system is an image's: every step is looked up inside it, wherever its links point.
struct MountPoints {
    let root: Descriptor

    /// Makes those that are missing, as far as this process may.
    ///
    /// - Parameter isFile: whether the mount's source is no directory.
    func make(_ mounts: [Mount], isFile: (Mount) -> Bool) {
        for (index, mount) in mounts.enumerated() {
            let path = Self.names(mount.destination)
            // What is below another mount is made there, by the guest.
            guard !path.isEmpty, !mounts[..<index].contains(where: { path.starts(with: Self.names($0.destination)) }) else { continue }
            make(path, isFile: isFile(mount))
        }
    }

    private func make(_ path: [String], isFile: Bool) {
        for count in 1...path.count {
            let name = path[..<count].joined(separator: "/")
            if root.hasInRoot(name) { continue }
            let parent = count == 1 ? "." : path[..<(count - 1)].joined(separator: "/")
            guard let directory = try? root.openInRoot(parent, O_RDONLY | O_DIRECTORY) else { return }
            if isFile, count == path.count {
                _ = try? Descriptor.open(path[count - 1], O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o644, at: directory)
            } else {
                try? directory.makeDirectory(path[count - 1], mode: 0o755)
            }
        }
    }

    private static func names(_ path: String) -> [String] {
        path.split(separator: "/").map(String.init).filter { $0 != "." && $0 != ".." }
    }
}
