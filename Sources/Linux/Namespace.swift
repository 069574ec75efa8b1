import CLinux
import Glibc

/// `CLONE_NEW*` (namespaces(7)), for modules without the C header.
public enum NamespaceFlag {
    public static let pid = CLONE_NEWPID
    public static let network = CLONE_NEWNET
    public static let mount = CLONE_NEWNS
    public static let ipc = CLONE_NEWIPC
    public static let uts = CLONE_NEWUTS
    public static let user = CLONE_NEWUSER
    public static let cgroup = CLONE_NEWCGROUP
}

/// Which namespace a file of `/proc/PID/ns`, or a mount of one, stands for (namespaces(7)).
public struct NamespaceIdentity: Equatable, Sendable {
    private let device: dev_t
    private let inode: ino_t

    public init(_ namespace: Descriptor) throws(SystemError) {
        let status = try namespace.status()
        (device, inode) = (status.st_dev, status.st_ino)
    }

    public init(_ path: String) throws(SystemError) {
        try self.init(try Descriptor.open(path, O_RDONLY | O_NONBLOCK))
    }
}

/// Moves the calling thread (for `CLONE_NEWPID`: its later children) into namespaces (setns(2)).
///
/// - Parameters:
///   - namespaces: a file of `/proc/PID/ns`, or a pidfd: that process's.
///   - flags: `CLONE_NEW*`.
public func enter(_ namespaces: Descriptor, _ flags: Int32) throws(SystemError) {
    try systemCall("enter namespace", SYS_setns, Int(namespaces.raw), Int(flags))
}

/// Moves the calling process (for `CLONE_NEWPID`: its later children) into new namespaces (unshare(2)). For a process with one thread.
///
/// - Parameter flags: `CLONE_NEW*`.
public func enterNew(_ flags: Int32) throws(SystemError) {
    try check(clinux_unshare(flags), "make namespaces")
}

extension Descriptor {
    /// The mount namespace of the process this pidfd names (ioctl_pidfd(2), Linux 6.11). Its mounts stay as long as this is open.
    public func mountNamespace(ofProcess: Void = ()) throws(SystemError) -> Descriptor {
        // PIDFD_GET_MNT_NAMESPACE of linux/pidfd.h
        Descriptor(adopting: try check(clinux_ioctl(raw, 0xff03, 0), "take mount namespace"))
    }

    /// A copy of descriptor `number` of the process this pidfd names.
    public func descriptor(_ number: Int, ofProcess: Void = ()) throws(SystemError) -> Descriptor {
        Descriptor(adopting: Int32(truncatingIfNeeded: try systemCall("take descriptor", SYS_pidfd_getfd, Int(raw), number, 0)))
    }
}

/// Sets a limit of a process, 0: the caller (prlimit(2)).
public func setLimit(_ resource: Int32, soft: UInt64, hard: UInt64, of pid: Int32 = 0) throws(SystemError) {
    var limit = rlimit(rlim_cur: rlim_t(soft), rlim_max: rlim_t(hard))
    try withAddress(of: &limit) { (address) throws(SystemError) in
        _ = try systemCall("set resource limit", SYS_prlimit64, Int(pid), Int(resource), address, 0)
    }
}

/// Names the calling thread's UTS namespace.
public func setHostName(_ name: String) throws(SystemError) {
    try check(unsafe sethostname(name, name.utf8.count), "set host name")
}

/// What `uname -r` prints.
public func kernelRelease() -> String {
    var names = utsname()
    guard unsafe uname(&names) == 0 else { return "" }
    return unsafe withUnsafePointer(to: &names.release) {
        unsafe $0.withMemoryRebound(to: CChar.self, capacity: 65) { unsafe String(cString: $0) }
    }
}
