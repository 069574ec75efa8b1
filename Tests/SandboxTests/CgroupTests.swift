import Glibc
import Linux
import OCI
import Testing

@testable import Sandbox

@Suite("The host's cgroups")
struct HostCgroupTests {
    @Test("hybrid hosts have version 1's hierarchies and version 2's, each with this process's cgroup")
    func hierarchies() {
        let mounts = """
            30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
            31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
            32 30 0:28 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,name=systemd
            33 30 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
            """
        let cgroups = "4:cpu,cpuacct:/docker/abc/inner\n1:name=systemd:/user.slice\n0::/init.scope\n"
        let found = CgroupHierarchy.all(mounts: MountEntry.all(mounts), cgroups: cgroups)
        #expect(found == [
            CgroupHierarchy(controllers: [], mountPoint: "/sys/fs/cgroup/unified", own: "/init.scope"),
            CgroupHierarchy(controllers: ["name=systemd"], mountPoint: "/sys/fs/cgroup/systemd", own: "/user.slice"),
            CgroupHierarchy(controllers: ["cpu", "cpuacct"], mountPoint: "/sys/fs/cgroup/cpu,cpuacct", own: "/inner"),
        ])
    }

    @Test("cgroupsPath leads where runc's does", arguments: [
        ("/a/b", "/x", "a/b", "a/b"), ("a/b", "/x/y", "x/y/a/b", "x/a/b"), ("", "/x", "x/id", "id"), ("/../a", "/", "a", "a"),
        ("machine.slice:libpod:1", "/x", "machine.slice/libpod-1.scope", "machine.slice/libpod-1.scope"),
        ("a-b.slice::c", "/", "a.slice/a-b.slice/c.scope", "a.slice/a-b.slice/c.scope"), ("-.slice:p:c", "/", "p-c.scope", "p-c.scope"),
        (
            "user.slice:p:c", "/user.slice/user-7.slice/user@7.service/app.slice/z", "user.slice/user-7.slice/user@7.service/user.slice/p-c.scope",
            "user.slice/user-7.slice/user@7.service/user.slice/p-c.scope"
        ),
    ])
    func names(path: String, own: String, version1: String, version2: String) {
        let name = CgroupName(path, id: "id")
        #expect(name.path(in: CgroupHierarchy(controllers: ["cpu"], mountPoint: "/c", own: own)).joined(separator: "/") == version1)
        #expect(name.path(in: CgroupHierarchy(controllers: [], mountPoint: "/c", own: own)).joined(separator: "/") == version2)
    }

    @Test("version 1 gets the spec's own values")
    func version1() {
        var resources = LinuxResources()
        resources.memory = LinuxMemory()
        resources.memory?.limit = 1000
        resources.memory?.swap = -1
        resources.cpu = LinuxCPU()
        resources.cpu?.shares = 1024
        resources.cpu?.quota = 40000
        resources.cpu?.cpus = "0"
        resources.pids = LinuxPids(limit: -1)
        resources.devices = [
            LinuxDeviceCgroup(allow: false), LinuxDeviceCgroup(allow: true, type: .character, major: 10, access: "rwa"),
            LinuxDeviceCgroup(allow: true, type: .block, access: "a"),
        ]
        let writes = CgroupV1Limits(resources).writes
        #expect(writes.map { "\($0.controller) \($0.write.file)=\($0.write.value)" } == [
            "cpuset cpuset.cpus=0", "cpu cpu.shares=1024", "cpu cpu.cfs_quota_us=40000", "memory memory.limit_in_bytes=1000",
            "memory memory.memsw.limit_in_bytes=-1", "pids pids.max=max",
        ])
        let devices = CgroupV1Limits.devices(resources.devices)
        #expect(devices.prefix(3).map { "\($0.file)=\($0.value)" } == ["devices.deny=a", "devices.allow=c 10:* rw", "devices.allow=c *:* m"])
        #expect(devices.contains { $0.value == "c 1:3 rwm" })
    }

    func cgroup(_ hierarchy: CgroupHierarchy, _ change: (inout LinuxResources) -> Void) -> ContainerCgroup? {
        var spec = Spec.template()
        spec.linux?.cgroupsPath = "/c"
        var resources = LinuxResources()
        change(&resources)
        spec.linux?.resources = resources
        return ContainerCgroup(spec, id: "id", memory: 256 << 20, hierarchies: [hierarchy], isPrivileged: true)
    }

    @Test("the machine is in the container's cgroup, unless a limit there counts what it needs for itself")
    func apart() {
        let unified = CgroupHierarchy(controllers: [], mountPoint: "/m", own: "/")
        #expect(cgroup(unified) { $0.pids = LinuxPids(limit: 2048) }?.paths == ["/m/c"])
        #expect(cgroup(unified) { $0.pids = LinuxPids(limit: 5) }?.paths == ["/m/c", "/m/c.microvm"])
        #expect(cgroup(unified) { $0.memory = LinuxMemory(); $0.memory?.limit = 1 << 26 }?.paths == ["/m/c", "/m/c.microvm"])
        #expect(cgroup(unified) { $0.unified = ["memory.max": "1"] }?.paths == ["/m/c", "/m/c.microvm"])
        let cpu = CgroupHierarchy(controllers: ["cpu"], mountPoint: "/m", own: "/")
        #expect(cgroup(cpu) { $0.memory = LinuxMemory(); $0.memory?.limit = 1 << 26 }?.paths == ["/m/c"])
    }

    @Test("a container that asks for none has no cgroup")
    func none() {
        var spec = Spec.template()
        spec.linux?.cgroupsPath = ""
        #expect(ContainerCgroup(spec, id: "id", memory: 1, hierarchies: []) == nil)
    }

    @Test("the container's process is in it with the spec's values, and it goes", .enabled(if: canMakeCgroups))
    func real() throws {
        var spec = Spec.template()
        spec.linux?.cgroupsPath = "/microvm-test-\(getpid())/one"
        var resources = LinuxResources()
        resources.pids = LinuxPids(limit: 77)
        resources.memory = LinuxMemory()
        resources.memory?.limit = 128 << 20
        spec.linux?.resources = resources
        // This process itself stays where it is: the process that is put there is another.
        let child = try ChildProcess("/bin/sleep", ["sleep", "100"], .init())
        let hierarchies = CgroupHierarchy.all().filter { $0.controllers.contains("pids") || $0.isUnified }
        let cgroup = try #require(ContainerCgroup(spec, id: "id", memory: 256 << 20, hierarchies: hierarchies, isPrivileged: true))
        try cgroup.enter(child.pid)
        defer { cgroup.leave() }
        try cgroup.apply(resources, .booting)
        let where_ = String(decoding: try Descriptor.open("/proc/\(child.pid)/cgroup", O_RDONLY).readToEnd(), as: UTF8.self)
        #expect(where_.contains("/microvm-test-\(getpid())/one"))
        let values = cgroup.paths.compactMap { try? Descriptor.open("\($0)/pids.max", O_RDONLY).readToEnd() }.map { String(decoding: $0, as: UTF8.self) }
        #expect(values.first == "77\n")
        child.kill()
        child.reap()
        cgroup.leave()
        ContainerCgroup.remove(cgroup.paths)
        for path in cgroup.paths {
            #expect(access(path, F_OK) != 0)
            rmdir(String(path[..<(path.lastIndex(of: "/") ?? path.endIndex)]))
        }
    }

    @Test("of a quota and its period either may be updated alone; zero and nothing leave both")
    func bandwidth() {
        func cpu(_ quota: Int64?, _ period: UInt64?) -> LinuxCPU? {
            var cpu = LinuxCPU()
            (cpu.quota, cpu.period) = (quota, period)
            return cpu
        }
        func completed(_ bandwidth: CPUBandwidth, _ quota: Int64?, _ period: UInt64?) -> LinuxCPU? {
            var update = cpu(quota, period)
            bandwidth.complete(&update)
            return update
        }
        var bandwidth = CPUBandwidth(cpu(50_000, 100_000))
        #expect(completed(bandwidth, nil, 200_000) == cpu(50_000, 200_000))
        #expect(completed(bandwidth, -1, 0) == cpu(-1, 100_000))
        #expect(completed(bandwidth, 0, nil) == cpu(0, nil))
        bandwidth.take(cpu(0, 200_000))
        #expect(bandwidth == CPUBandwidth(cpu(50_000, 200_000)))
        #expect(completed(CPUBandwidth(nil), nil, 1000) == cpu(nil, 1000))
    }
}

private let canMakeCgroups: Bool = {
    guard geteuid() == 0, let hierarchy = CgroupHierarchy.all().first(where: { $0.controllers.contains("pids") || $0.isUnified }) else { return false }
    return access(hierarchy.mountPoint, W_OK) == 0
}()
