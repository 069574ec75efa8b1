import CLinux
import Glibc

/// Flags of mount(2): constants, because C has them both as an enumeration and as macros.
public enum MountFlag {
    public static let readOnly: UInt64 = 1
    public static let noSetUserID: UInt64 = 1 << 1
    public static let noDevices: UInt64 = 1 << 2
    public static let noExecution: UInt64 = 1 << 3
    public static let synchronous: UInt64 = 1 << 4
    public static let remount: UInt64 = 1 << 5
    public static let mandatoryLocks: UInt64 = 1 << 6
    public static let synchronousDirectories: UInt64 = 1 << 7
    public static let noSymlinks: UInt64 = 1 << 8
    public static let noAccessTime: UInt64 = 1 << 10
    public static let noDirectoryAccessTime: UInt64 = 1 << 11
    public static let bind: UInt64 = 1 << 12
    public static let recursive: UInt64 = 1 << 14
    public static let silent: UInt64 = 1 << 15
    public static let accessLists: UInt64 = 1 << 16
    public static let unbindable: UInt64 = 1 << 17
    public static let `private`: UInt64 = 1 << 18
    public static let slave: UInt64 = 1 << 19
    public static let shared: UInt64 = 1 << 20
    public static let relativeAccessTime: UInt64 = 1 << 21
    public static let versions: UInt64 = 1 << 23
    public static let strictAccessTime: UInt64 = 1 << 24
    public static let lazyTimes: UInt64 = 1 << 25
}

/// Mounts a file system, or changes a mount (mount(2)).
///
/// - Parameter flags: of ``MountFlag``.
public func mountFileSystem(_ type: String, on target: String, source: String = "none", flags: UInt64 = 0, data: String = "") throws(SystemError) {
    try check(unsafe mount(source, target, type, UInt(flags), data), "mount \(type) on \(target)")
}

/// Takes the topmost mount at `target` away (umount2(2)).
public func unmountFileSystem(_ target: String, flags: Int32 = 0) throws(SystemError) {
    try check(unsafe umount2(target, flags), "unmount \(target)")
}

extension Descriptor {
    /// A copy of the mounts at `path`, attached nowhere (open_tree(2)).
    public static func mountTree(_ path: String, recursive: Bool) throws(SystemError) -> Descriptor {
        let flags = Int(OPEN_TREE_CLONE) | Int(O_CLOEXEC) | (recursive ? Int(AT_RECURSIVE) : 0)
        let result = unsafe path.withCString { address in
            Result { () throws(SystemError) -> Int in
                try systemCall("copy mount \(path)", SYS_open_tree, Int(AT_FDCWD), Int(bitPattern: address), flags)
            }
        }
        return Descriptor(adopting: Int32(truncatingIfNeeded: try result.get()))
    }

    /// Shows the files of this detached mount with the ids of a user namespace (mount_setattr(2), `MOUNT_ATTR_IDMAP`).
    public func mapMountIDs(by userNamespace: Descriptor, recursive: Bool) throws(SystemError) {
        var attributes = mount_attr()
        attributes.attr_set = UInt64(MOUNT_ATTR_IDMAP)
        attributes.userns_fd = UInt64(userNamespace.raw)
        try change("map ids of mount", attributes, recursive: recursive)
    }

    /// Attaches this detached mount at `path` (move_mount(2)). This stays open at its root.
    public func attachMount(_ path: String) throws(SystemError) {
        var empty: CChar = 0
        try withAddress(of: &empty) { (own) throws(SystemError) in
            let result = unsafe path.withCString { target in
                Result { () throws(SystemError) -> Int in
                    try systemCall(
                        "attach mount at \(path)", SYS_move_mount, Int(raw), own, Int(AT_FDCWD), Int(bitPattern: target), Int(MOVE_MOUNT_F_EMPTY_PATH))
                }
            }
            _ = try result.get()
        }
    }

    /// Parts this detached mount, and those below, from what it is a copy of: neither sees what is mounted on the other or taken from it.
    public func makeMountsPrivate() throws(SystemError) {
        var attributes = mount_attr()
        attributes.propagation = MountFlag.private
        try change("make mount private", attributes, recursive: true)
    }

    private func change(_ what: String, _ attributes: mount_attr, recursive: Bool) throws(SystemError) {
        var attributes = attributes
        let flags = Int(AT_EMPTY_PATH) | (recursive ? Int(AT_RECURSIVE) : 0)
        var empty: CChar = 0
        try withAddress(of: &empty) { (path) throws(SystemError) in
            _ = try withAddress(of: &attributes) { (address) throws(SystemError) in
                try systemCall(what, SYS_mount_setattr, Int(raw), path, flags, address, MemoryLayout<mount_attr>.size)
            }
        }
    }

    /// Opens `path` as a process would whose root directory is this one: neither `..` nor a link leads out of it.
    ///
    /// - Parameter crossingMounts: whether it may be on another mount (`EXDEV` if it may not).
    public func openInRoot(_ path: String, _ flags: Int32, crossingMounts: Bool = true) throws(SystemError) -> Descriptor {
        var how = open_how()
        how.flags = UInt64(UInt32(bitPattern: flags | O_CLOEXEC))
        how.resolve = UInt64(RESOLVE_IN_ROOT) | (crossingMounts ? 0 : UInt64(RESOLVE_NO_XDEV))
        let result = try withAddress(of: &how) { (address) throws(SystemError) in
            try unsafe path.withCString { name in
                Result { () throws(SystemError) -> Int in
                    try systemCall("open \(path)", SYS_openat2, Int(raw), Int(bitPattern: name), address, MemoryLayout<open_how>.size)
                }
            }.get()
        }
        return Descriptor(adopting: Int32(truncatingIfNeeded: result))
    }

    /// Whether `path` leads to something, with this directory as the root. Opens nothing.
    public func hasInRoot(_ path: String) -> Bool { (try? openInRoot(path, O_PATH)) != nil }

    /// Whether `path` is there and no directory, a link being none, with this directory as the root. Opens nothing.
    public func hasOtherThanDirectoryInRoot(_ path: String) -> Bool {
        guard let status = try? openInRoot(path, O_PATH | O_NOFOLLOW).status() else { return false }
        return status.st_mode & S_IFMT != S_IFDIR
    }

    /// Makes `path` and what is missing above it, with this directory as the root. Links are followed as inside it, those to nowhere too: an
    /// image's `/etc/resolv.conf` often is one.
    ///
    /// - Parameter onMade: called with the directory and the name of each that was missing.
    public func makeInRoot(
        _ path: String, isDirectory: Bool, onMade: (_ parent: Descriptor, _ name: String) throws(SystemError) -> Void = { (_, _) throws(SystemError) in }
    ) throws(SystemError) {
        var remaining = path.split(separator: "/").map(String.init)[...]
        var done: [String] = []
        var links = 0
        while let part = remaining.popFirst() {
            if part == "." { continue }
            if part == ".." {
                _ = done.popLast()
                continue
            }
            let parent = try openInRoot("/" + done.joined(separator: "/"), O_PATH | O_DIRECTORY)
            if let target = try? parent.linkTarget(part) {
                links += 1
                guard links <= 40 else { throw SystemError("make \(path)", .tooManySymbolicLinkLevels) }
                if target.hasPrefix("/") { done = [] }
                remaining = (target.split(separator: "/").map(String.init) + remaining)[...]
                continue
            }
            if try parent.make(part, isDirectory: isDirectory || !remaining.isEmpty) { try onMade(parent, part) }
            done.append(part)
        }
    }

    /// - Returns: whether it was missing.
    private func make(_ name: String, isDirectory: Bool) throws(SystemError) -> Bool {
        do {
            if isDirectory {
                try makeDirectory(name, mode: 0o755)
            } else {
                _ = try Descriptor.open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o644, at: self)
            }
            return true
        } catch where error.errno == .fileExists {
            return false
        }
    }

    /// Where the symbolic link `name` in this directory points; an empty name is this link itself.
    public func linkTarget(_ name: String = "") throws(SystemError) -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = try check(unsafe readlinkat(raw, name, &buffer, buffer.count), "read link \(name)")
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Gives this file to a user and group; `nil` leaves one as it is.
    public func changeOwner(uid: UInt32?, gid: UInt32?) throws(SystemError) {
        try check(unsafe fchownat(raw, "", uid ?? .max, gid ?? .max, AT_EMPTY_PATH), "change owner")
    }
}
