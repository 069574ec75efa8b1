import CLinux
import Glibc
import Linux
import OCI

/// Work inside a container's root file system, whose links may point anywhere.
struct RootDirectory {
    let root: Descriptor
    /// Who owns what is made.
    let owner: (uid: UInt32, gid: UInt32)

    /// Makes `path` and what is missing above it.
    func make(_ path: String, isDirectory: Bool) throws(SystemError) {
        try root.makeInRoot(path, isDirectory: isDirectory) { (parent, name) throws(SystemError) in
            guard owner.uid != 0 || owner.gid != 0 else { return }
            try Descriptor.open(name, O_PATH | O_NOFOLLOW, at: parent).changeOwner(uid: owner.uid, gid: owner.gid)
        }
    }

    /// The home directory `/etc/passwd` names for a user, nil when it does not know one.
    ///
    /// Of the root file system itself: one that a container mounted over it need never answer.
    func home(of uid: UInt32) -> String? {
        guard let file = try? root.openInRoot("/etc/passwd", O_RDONLY | O_NONBLOCK, crossingMounts: false),
            let bytes = try? file.readToEnd(limit: 1 << 20)
        else { return nil }
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            let fields = line.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
            guard fields.count >= 6, UInt32(String(decoding: fields[2], as: UTF8.self)) == uid else { continue }
            return fields[5].isEmpty ? nil : String(decoding: fields[5], as: UTF8.self)
        }
        return nil
    }
}
