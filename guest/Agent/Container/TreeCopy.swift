import CLinux
import Glibc
import Linux

/// Copies what is below a directory into another, with owners and modes (runc's `tmpcopyup`).
enum TreeCopy {
    private static let maximumDepth = 64

    /// - Parameter withMode: the target gets the source's owner and mode itself.
    static func copy(from source: Descriptor, to target: Descriptor, withMode: Bool = true, depth: Int = 0) throws(SystemError) {
        guard depth < maximumDepth else { throw SystemError("copy directory", .tooManySymbolicLinkLevels) }
        let source = try Descriptor.open(".", O_RDONLY | O_DIRECTORY, at: source)
        if depth == 0, withMode {
            // The descriptor of a mount is for paths only.
            try setMode(of: Descriptor.open(".", O_RDONLY | O_DIRECTORY, at: target), like: source.status())
        }
        for name in try source.entryNames() {
            let entry = try Descriptor.open(name, O_PATH | O_NOFOLLOW, at: source)
            let status = try entry.status()
            switch status.st_mode & S_IFMT {
            case S_IFDIR:
                try target.makeDirectory(name, mode: 0o700)
                let made = try Descriptor.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: target)
                try copy(from: entry, to: made, depth: depth + 1)
                try setMode(of: made, like: status)
            case S_IFREG:
                let file = try Descriptor.open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600, at: target)
                let content = try Descriptor.open(name, O_RDONLY | O_NOFOLLOW, at: source)
                while true {
                    let part = try content.read(upTo: 64 << 10)
                    if part.isEmpty { break }
                    try file.writeAll(part)
                }
                try setMode(of: file, like: status)
            case S_IFLNK:
                let link = try source.linkTarget(name)
                try check(symlinkat(link, target.raw, name), "copy link \(name)")
            default:
                try check(mknodat(target.raw, name, status.st_mode, status.st_rdev), "copy \(name)")
            }
        }
    }

    private static func setMode(of file: Descriptor, like status: stat) throws(SystemError) {
        if status.st_uid != 0 || status.st_gid != 0 { try file.changeOwner(uid: status.st_uid, gid: status.st_gid) }
        try check(fchmod(file.raw, status.st_mode & 0o7777), "change mode")
    }
}
