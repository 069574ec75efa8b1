import CLinux
import Glibc
import Linux

/// The system calls programs of this module are made of, by what they do.
extension SystemCallProgram {
    /// `O_PATH` descriptor of `path`, walked as if `root` were `/`: no `..`, link or magic link leads out.
    mutating func openInRoot(
        _ root: Argument, _ path: String, flags: Int32 = O_PATH, into result: Register, tolerating tolerated: [Errno] = []
    ) {
        let how = words([UInt64(UInt32(bitPattern: flags | O_CLOEXEC)), 0, UInt64(RESOLVE_IN_ROOT)])
        call(SYS_openat2, root, text(path), how, 24, into: result, tolerating: tolerated)
    }

    /// A detached copy of the mount `source` is on, seen from there.
    mutating func copyMount(_ source: Argument, recursive: Bool, into result: Register, tolerating tolerated: [Errno] = []) {
        let flags = Int32(OPEN_TREE_CLONE) | O_CLOEXEC | Int32(AT_EMPTY_PATH) | (recursive ? Int32(AT_RECURSIVE) : 0)
        call(SYS_open_tree, source, text(""), .literal(flags), into: result, tolerating: tolerated)
    }

    /// Attaches a detached mount on top of `target`.
    mutating func attachMount(_ tree: Argument, to target: Argument, tolerating tolerated: [Errno] = []) {
        let flags = Int32(MOVE_MOUNT_F_EMPTY_PATH) | Int32(MOVE_MOUNT_T_EMPTY_PATH)
        call(SYS_move_mount, tree, text(""), target, text(""), .literal(flags), tolerating: tolerated)
    }

    /// Changes attributes or propagation of the mount `mount` is on.
    mutating func setMount(_ mount: Argument, set: UInt64 = 0, clear: UInt64 = 0, propagation: UInt64 = 0, recursive: Bool) {
        let flags = Int32(AT_EMPTY_PATH) | (recursive ? Int32(AT_RECURSIVE) : 0)
        call(SYS_mount_setattr, mount, text(""), .literal(flags), words([set, clear, propagation, 0]), 32)
    }

    /// mount(2) on a path, relative to the working directory unless absolute.
    mutating func mount(
        _ type: String, on target: String, source: String, flags: UInt64 = 0, data: String = "", tolerating tolerated: [Errno] = []
    ) {
        call(
            SYS_mount, text(source), text(target), text(type), .literal(Int32(truncatingIfNeeded: flags)),
            data.isEmpty ? 0 : text(data), tolerating: tolerated)
    }

    /// Writes a file under the working directory's `/proc` or the like.
    mutating func write(_ value: String, to path: String) {
        let file = register()
        call(SYS_openat, .literal(AT_FDCWD), text(path), .literal(O_WRONLY | O_CLOEXEC), into: file)
        call(SYS_write, .register(file), text(value), .literal(Int32(truncatingIfNeeded: value.utf8.count)))
    }
}
