import Glibc
import Linux
import OCI
import Testing

@testable import Sandbox

@Suite("Places for mounts, made on the host")
final class MountPointsTests {
    let path = "/tmp/microvm-mount-points-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
    let points: MountPoints

    init() throws {
        for folder in ["", "/root", "/root/etc"] { mkdir(path + folder, 0o755) }
        points = MountPoints(root: try Descriptor.open(path + "/root", O_RDONLY | O_DIRECTORY))
    }

    deinit { _ = try? ChildProcess("/bin/rm", ["rm", "-rf", path], .init()).reap() }

    func kind(_ name: String) -> mode_t {
        var status = stat()
        return unsafe lstat("\(path)/\(name)", &status) == 0 ? status.st_mode & S_IFMT : 0
    }

    @Test("directories and files; a link is followed inside the root, one to nowhere too, and never out of it")
    func make() {
        symlink("../run/resolv.conf", path + "/root/etc/resolv.conf")
        symlink("/../../../outside", path + "/root/out")
        symlink("loop", path + "/root/loop")
        let mounts = ["/a/b", "/etc/resolv.conf", "/out/c", "/loop/d", "/a/b/below"].map { Mount(destination: $0) }
        points.make(mounts) { $0.destination == "/etc/resolv.conf" }
        #expect(kind("root/a/b") == S_IFDIR)
        #expect(kind("root/run/resolv.conf") == S_IFREG)
        #expect(kind("root/etc/resolv.conf") == S_IFLNK)
        #expect(kind("root/outside/c") == S_IFDIR)
        #expect(kind("outside") == 0)
        // Another mount will be there.
        #expect(kind("root/a/b/below") == 0)
    }

    @Test("proc and sysfs go on directories only", arguments: ["proc", "sysfs"])
    func links(type: String) throws {
        let mounts = [Mount(destination: "/kernel", type: type)]
        try points.checkKernelFileSystems(mounts)
        symlink("/etc", path + "/root/kernel")
        let error = #expect(throws: SandboxError.self) { try self.points.checkKernelFileSystems(mounts) }
        #expect(error?.description.contains("mounts[0].destination") == true)
        try points.checkKernelFileSystems([Mount(destination: "/kernel", type: "tmpfs")])
    }
}
