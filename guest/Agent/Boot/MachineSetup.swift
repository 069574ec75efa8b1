import AgentAPI
import CLinux
import Glibc
import Linux

/// What PID 1 makes of a machine whose kernel has only mounted its root: the file systems it needs itself.
///
/// No more than those: each container's mount namespace begins as a copy of all, 4.5 ms a mount where ring 0 is interpreted.
///
/// Nothing here ends the machine: what fails is written to the console, and whoever needs it fails with a reason.
public enum MachineSetup {
    private static let mounts: [(type: String, target: String, flags: UInt64, data: String)] = [
        // Before anything else: starting threads needs it.
        ("proc", "/proc", MountFlag.noSetUserID | MountFlag.noExecution | MountFlag.noDevices, ""),
        ("sysfs", "/sys", MountFlag.noSetUserID | MountFlag.noExecution | MountFlag.noDevices, ""),
        // EBUSY where the kernel did it (CONFIG_DEVTMPFS_MOUNT).
        ("devtmpfs", "/dev", MountFlag.noSetUserID, "mode=0755"),
        ("tmpfs", "/run", MountFlag.noSetUserID | MountFlag.noDevices, "mode=0755"),
        ("cgroup2", "/sys/fs/cgroup", MountFlag.noSetUserID | MountFlag.noExecution | MountFlag.noDevices, "nsdelegate,memory_recursiveprot"),
    ]

    /// For mounts that wait for containers.
    static let sparesDirectory = "/run/microvm/spares"

    /// Call first in `main`, on the only thread.
    public static func run() {
        // What is given back to the kernel is touched anew when next needed: 2.7 ms a page where ring 0 is interpreted.
        clinux_keep_memory()
        umask(0o022)
        for mount in mounts {
            attempt([.resourceBusy]) { () throws(SystemError) in
                try mountFileSystem(mount.type, on: mount.target, source: mount.type, flags: mount.flags, data: mount.data)
            }
        }
        openStandardStreams()
        protectSelf()
        attempt { () throws(SystemError) in try bringLoopbackUp() }
        attempt { () throws(SystemError) in try setHostName("microvm") }
    }

    /// Mounts the host's shares. A machine without the device has none.
    ///
    /// - Returns: whether it has.
    static func mountShares() -> Bool {
        mkdir("/run/microvm", 0o755)
        mkdir(sparesDirectory, 0o700)
        mkdir(AgentAddress.sharesDirectory, 0o755)
        return attempt([Errno(rawValue: ENODEV), .invalidArgument]) { () throws(SystemError) in
            try mountFileSystem("virtiofs", on: AgentAddress.sharesDirectory, source: "microvm")
        }
    }

    /// Descriptors 0 to 2 must be taken, or the first file opened would pass for a standard stream.
    private static func openStandardStreams() {
        while true {
            let number = open("/dev/null", O_RDWR | O_CLOEXEC)
            if number > 2 { close(number) }
            if number < 0 || number > 2 { return }
        }
    }

    /// Children share this process's memory until they execute: nobody in a container may look into it
    /// through them (CVE-2016-9962). And many containers need many descriptors.
    private static func protectSelf() {
        _ = clinux_prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        attempt { () throws(SystemError) in try setLimit(7, soft: 65536, hard: 1 << 20) }
    }

    /// - Returns: whether it was done.
    @discardableResult
    private static func attempt(_ expected: [Errno] = [], _ body: () throws(SystemError) -> Void) -> Bool {
        do {
            try body()
            return true
        } catch where expected.contains(error.errno) {
            return false
        } catch {
            log("\(error)")
            return false
        }
    }

    /// A line on the console, which the host keeps.
    public static func log(_ text: String) {
        _ = try? Descriptor.standardError.write(Array("microvm-agent: \(text)\n".utf8))
    }
}
