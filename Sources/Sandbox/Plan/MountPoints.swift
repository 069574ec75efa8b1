import Glibc
import Linux
import OCI

/// Places for mounts in a root file system.
///
/// The root file system is an image's: every step is looked up inside it, wherever its links point.
struct MountPoints {
    let root: Descriptor

    /// Refuses links where proc and sysfs go, as runc does: they, and what is masked in them, would be elsewhere.
    func checkKernelFileSystems(_ mounts: [Mount]) throws(SandboxError) {
        for (index, mount) in mounts.enumerated() where mount.type == "proc" || mount.type == "sysfs" {
            let place = Self.names(mount.destination).joined(separator: "/")
            guard root.hasOtherThanDirectoryInRoot(place) else { continue }
            throw SandboxError(.badInput, "mounts[\(index)].destination: \(mount.type) on \(mount.destination): must be mounted on ordinary directory")
        }
    }

    /// Makes those that are missing, as far as this process may: the guest sees the file system read-only and cannot.
    ///
    /// - Parameter isFile: whether the mount's source is no directory.
    func make(_ mounts: [Mount], isFile: (Mount) -> Bool) {
        for (index, mount) in mounts.enumerated() {
            let path = Self.names(mount.destination)
            // What is below another mount is made there, by the guest.
            guard !path.isEmpty, !mounts[..<index].contains(where: { path.starts(with: Self.names($0.destination)) }) else { continue }
            try? root.makeInRoot(path.joined(separator: "/"), isDirectory: !isFile(mount))
        }
    }

    private static func names(_ path: String) -> [String] {
        path.split(separator: "/").map(String.init).filter { $0 != "." && $0 != ".." }
    }
}
