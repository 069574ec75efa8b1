import CLinux
import Glibc

/// Gives this process namespaces of its own: mounts, System V IPC, network and host name. When it is not
/// root, a user namespace first, in which it keeps its user and group.
///
/// For a process with one thread.
public func enterNewNamespaces() throws(SystemError) {
    let (user, group) = (geteuid(), getegid())
    if user != 0 {
        try check(clinux_unshare(CLONE_NEWUSER), "make a user namespace")
        try writeOnce("deny", to: "/proc/self/setgroups")
        try writeOnce("\(user) \(user) 1", to: "/proc/self/uid_map")
        try writeOnce("\(group) \(group) 1", to: "/proc/self/gid_map")
    }
    try check(clinux_unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS), "make namespaces")
    // Nothing mounted here may reach the host.
    try check(clinux_make_mounts_private(), "make mounts private")
}

/// Makes the working directory, or an empty directory instead, the root of this process: read-only, nothing else
/// within reach. For a process that has mounts of its own (``enterNewNamespaces()``).
public func enterNewRoot(keepingWorkingDirectory: Bool) throws(SystemError) {
    let tree =
        keepingWorkingDirectory
        ? try Descriptor.mountTree(".", recursive: false)
        : Descriptor(adopting: try check(clinux_make_tmpfs(), "make an empty directory"))
    let attributes = UInt64(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
    try check(clinux_set_mount_attributes(tree.raw, attributes), "make the new root read-only")
    try check(clinux_mount_here(tree.raw), "mount the new root")
    try changeDirectory(to: tree)
    try check(clinux_pivot_here(), "change the root")
    try check(clinux_detach_here(), "leave the old root")
    try check(unsafe chdir("/"), "enter the new root")
}

private func writeOnce(_ text: String, to path: String) throws(SystemError) {
    let file = try Descriptor.open(path, O_WRONLY)
    _ = try file.write(Array(text.utf8))
}
