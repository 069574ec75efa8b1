import Glibc
import Linux

/// Where keepers and their machines are before a container has them: no container's cgroup, nor the engine's that happened
/// to start the first. Without the rights to make one they stay where they began.
enum PoolCgroup {
    private static let name = "/microvm-pool"

    static func enter() {
        for hierarchy in CgroupHierarchy.all() {
            let path = hierarchy.mountPoint + (hierarchy.isUnified ? name : "")
            if hierarchy.isUnified { mkdir(path, 0o755) }
            try? add(processID(), to: path)
        }
    }

    /// Removes it when nothing is in it any more but this process.
    static func leave() {
        for hierarchy in CgroupHierarchy.all() where hierarchy.isUnified { try? add(processID(), to: hierarchy.mountPoint) }
        remove()
    }

    static func remove() {
        for hierarchy in CgroupHierarchy.all() where hierarchy.isUnified { rmdir(hierarchy.mountPoint + name) }
    }

    /// Brings a process to where this one is: a machine that was taken counts where its monitor does.
    ///
    /// - Throws: where that fails though this process has the rights; otherwise limits of the host are not applied anyway.
    static func bring(_ pid: Int32) throws(SystemError) {
        for hierarchy in CgroupHierarchy.all() {
            do throws(SystemError) { try add(pid, to: hierarchy.mountPoint + hierarchy.own) } catch {
                if isRealRoot(), error.errno != .readOnlyFileSystem { throw error }
            }
        }
    }

    private static func add(_ pid: Int32, to path: String) throws(SystemError) {
        _ = try Descriptor.open("\(path)/cgroup.procs", O_WRONLY).write(Array("\(pid)".utf8))
    }
}
