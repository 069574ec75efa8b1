import CLinux
import Glibc
import Linux
import OCI

/// Id maps of user namespaces (user_namespaces(7)).
enum IDMapNamespace {
    static func write(_ mappings: [LinuxIDMapping], to path: String) throws(SystemError) {
        let lines = mappings.map { "\($0.containerID) \($0.hostID) \($0.size)\n" }.joined()
        // One write: the kernel takes no second.
        _ = try Descriptor.open(path, O_WRONLY).write(Array(lines.utf8))
    }

    /// A user namespace nobody is in, for its maps.
    static func make(uids: [LinuxIDMapping], gids: [LinuxIDMapping]) throws(SystemError) -> Descriptor {
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
            waitpid(child.pid, nil, 0)
            child.release()
        }
        try write(uids, to: "/proc/\(child.pid)/uid_map")
        try write(gids, to: "/proc/\(child.pid)/gid_map")
        return try Descriptor.open("/proc/\(child.pid)/ns/user", O_RDONLY)
    }
}
