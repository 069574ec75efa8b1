import CLinux
import Glibc
import Linux
import OCI

/// Work inside a container's root file system, whose links may point anywhere.
struct RootDirectory {
    let root: Descriptor
    /// Who owns what is made.
    let owner: (uid: UInt32, gid: UInt32)

    /// Makes `path` and what is missing above it. Links are followed as inside the root, those to nowhere too:
    /// an image's `/etc/resolv.conf` often is one.
    func make(_ path: String, isDirectory: Bool) throws(SystemError) {
        var remaining = path.split(separator: "/").map(String.init)[...]
        var done: [String] = []
        var links = 0
        while let part = remaining.popFirst() {
            if part == "." { continue }
            if part == ".." {
                _ = done.popLast()
                continue
            }
            let parent = try root.openInRoot("/" + done.joined(separator: "/"), O_PATH | O_DIRECTORY)
            if let target = try? parent.linkTarget(part) {
                links += 1
                guard links <= 40 else { throw SystemError("make \(path)", .tooManySymbolicLinkLevels) }
                if target.hasPrefix("/") { done = [] }
                remaining = (target.split(separator: "/").map(String.init) + remaining)[...]
                continue
            }
            try make(part, in: parent, isDirectory: isDirectory || !remaining.isEmpty)
            done.append(part)
        }
    }

    private func make(_ name: String, in parent: Descriptor, isDirectory: Bool) throws(SystemError) {
        do {
            if isDirectory {
                try parent.makeDirectory(name, mode: 0o755)
            } else {
                _ = try Descriptor.open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o644, at: parent)
            }
        } catch where error.errno == .fileExists {
            return
        }
        guard owner.uid != 0 || owner.gid != 0 else { return }
        try Descriptor.open(name, O_PATH | O_NOFOLLOW, at: parent).changeOwner(uid: owner.uid, gid: owner.gid)
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
