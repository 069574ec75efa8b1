import CLinux
import Glibc

/// Id maps of user namespaces, as the lines of `/proc/PID/uid_map` (user_namespaces(7)).
public enum IDMapNamespace {
    public static func write(_ lines: String, to path: String) throws(SystemError) {
        // One write: the kernel takes no second.
        _ = try Descriptor.open(path, O_WRONLY).write(Array(lines.utf8))
    }

    /// A user namespace nobody is in, for its maps.
    public static func make(uids: String, gids: String) throws(SystemError) -> Descriptor {
        var options = ProgramProcess.Options()
        options.namespaces = UInt64(UInt32(bitPattern: CLONE_NEWUSER))
        let child = try ProgramProcess(options) { control in
            var program = SystemCallProgram()
            program.call(SYS_read, .literal(control), program.buffer(1), 1)
            return program
        }
        defer {
            try? child.control.shutdown(.both)
            // It ends at once; waiting takes microseconds.
            _ = try? child.control.read(upTo: 1)
            _ = unsafe waitpid(child.pid, nil, 0)
            child.release()
        }
        try write(uids, to: "/proc/\(child.pid)/uid_map")
        try write(gids, to: "/proc/\(child.pid)/gid_map")
        return try Descriptor.open("/proc/\(child.pid)/ns/user", O_RDONLY)
    }
}
