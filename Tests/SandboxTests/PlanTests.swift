import Glibc
import Linux
@testable import OCI
import Testing

@testable import Sandbox

@Suite("What a container's machine needs")
struct PlanTests {
    func bundle(_ change: (inout Spec) -> Void = { _ in }) throws -> Bundle {
        var spec = Spec.template()
        change(&spec)
        return Bundle(path: "/b", spec: spec, document: try JSON.value(of: spec))
    }

    func plan(_ kind: SourceKind = .directory, submounts: [String] = [], _ change: (inout Spec) -> Void = { _ in }) throws -> Plan {
        try Plan(
            bundle(change), rootfs: "/b/rootfs", cpus: nil, memory: nil, softwareKVM: false, kind: { (_) throws(SandboxError) in kind },
            submounts: { _ in submounts })
    }

    @Test("the root file system is a share, read-only as the spec has it, and the guest's path replaces the host's")
    func root() throws {
        let readOnly = try plan()
        #expect(readOnly.shares == [Plan.Share(name: "rootfs", path: "/b/rootfs", readOnly: true, field: "root.path")])
        #expect(readOnly.guestSpec.root == Root(path: "/run/microvm/shares/rootfs", readonly: true))
        #expect(try plan(.directory) { $0.root?.readonly = false }.shares[0].readOnly == false)
    }

    @Test("each bind mount is a share of its own; others are the guest's, in their order")
    func mounts() throws {
        let plan = try plan {
            $0.mounts = [
                Mount(destination: "/a", type: "bind", source: "/x", options: ["rbind", "ro"]),
                Mount(destination: "/t", type: "tmpfs", source: "tmpfs"),
                Mount(destination: "/b", type: "none", source: "rel", options: ["bind", "ro", "rw"]),
            ]
        }
        #expect(plan.shares.dropFirst().map(\.name) == ["mount0", "mount2"])
        #expect(plan.shares.dropFirst().map(\.path) == ["/x", "/b/rel"])
        #expect(plan.shares.dropFirst().map(\.readOnly) == [true, false])
        #expect(plan.guestSpec.mounts.map(\.source) == ["/run/microvm/shares/mount0@/x", "tmpfs", "/run/microvm/shares/mount2@/rel"])
        #expect(plan.guestSpec.mounts.map(\.destination) == ["/a", "/t", "/b"])
    }

    @Test("mounts of one source are one share; for reading and for writing they are two, which the guest cannot confuse")
    func oneSource() throws {
        let plan = try plan {
            $0.mounts = [["bind"], ["rbind", "nosuid"], ["bind", "ro"]].map { Mount(destination: "/d", source: "/etc", options: $0) }
        }
        #expect(plan.shares.dropFirst().map(\.name) == ["mount0", "mount2"])
        #expect(plan.shares.dropFirst().map(\.readOnly) == [false, true])
        #expect(plan.guestSpec.mounts.map(\.source) == ["mount0", "mount0", "mount2"].map { "/run/microvm/shares/\($0)@/etc" })
    }

    @Test("a bind mount's ids are mapped on the host: the guest sees a mount without a map")
    func idMap() throws {
        let range = LinuxIDMapping(containerID: 0, hostID: 1000, size: 10)
        let plan = try plan {
            $0.linux?.namespaces.append(LinuxNamespace(type: .user))
            $0.linux?.uidMappings = [range]
            $0.linux?.gidMappings = [range]
            $0.mounts = [["bind"], ["bind", "idmap"], ["bind", "ridmap", "nosuid"], ["rbind", "idmap=uids=@5-6-1#2-3-4"]].map {
                Mount(destination: "/d", source: "/etc", options: $0)
            }
        }
        let other = [LinuxIDMapping(containerID: 5, hostID: 1006, size: 1), LinuxIDMapping(containerID: 2, hostID: 3, size: 4)]
        #expect(
            plan.shares.dropFirst().map(\.idMap) == [
                nil, MountIDMap(uids: [range], gids: [range], isRecursive: false), MountIDMap(uids: [range], gids: [range], isRecursive: true),
                MountIDMap(uids: other, gids: [range], isRecursive: true),
            ])
        #expect(plan.guestSpec.mounts.map(\.options) == [["bind"], ["bind"], ["bind", "nosuid"], ["rbind"]])
        #expect(plan.guestSpec.mounts.map(\.source) == [0, 1, 2, 3].map { "/run/microvm/shares/mount\($0)@/etc" })
    }

    @Test("a bind mount follows what the host mounts and unmounts only where it is shared or a slave")
    func propagation() throws {
        func follows(_ options: String...) throws -> Bool {
            try plan { $0.mounts = [Mount(destination: "/d", type: "bind", source: "/x", options: options)] }.shares[1].followsMounts
        }
        #expect(try !follows("rbind") && !follows("rbind", "rprivate") && !follows("rslave", "rprivate") && !follows("unbindable"))
        #expect(try follows("rbind", "rslave") && follows("shared") && follows("private", "slave"))
        let both = try plan { $0.mounts = [["bind"], ["bind", "slave"]].map { Mount(destination: "/d", source: "/etc", options: $0) } }
        #expect(both.shares.dropFirst().map(\.name) == ["mount0", "mount1"])
    }

    @Test("what is mounted below a directory that is mounted read-only, but not recursively, can be written to")
    func submounts() throws {
        func mounts(_ options: String...) throws -> Plan {
            try plan(submounts: ["a", "a/b"]) { $0.mounts = [Mount(destination: "/d", type: "none", source: "/x/y", options: options)] }
        }
        let shallow = try mounts("rbind", "ro")
        #expect(shallow.shares.last?.mode(.auto) == ["ro-root", "auto"])
        #expect(shallow.guestSpec.mounts.map(\.destination) == ["/d", "/d/a", "/d/a/b"])
        #expect(shallow.guestSpec.mounts.map(\.source) == ["", "/a", "/a/b"].map { "/run/microvm/shares/mount0@/y" + $0 })
        for plan in [try mounts("rbind", "rro"), try mounts("rbind", "ro", "rro"), try mounts("bind", "ro")] {
            #expect(plan.shares.last?.mode(.auto) == ["ro", "auto"])
            #expect(plan.guestSpec.mounts.count == 1)
        }
        #expect(try mounts("rbind").guestSpec.mounts.count == 1)
    }

    @Test("mounts below a directory are found in mountinfo: those that can be written to, whatever their names")
    func mountInformation() {
        let mounts = """
            22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw
            30 22 0:31 / /x/deep/er rw - tmpfs none rw
            31 22 0:32 / /x/with\\040space rw - tmpfs none rw,size=1k
            32 22 0:33 / /x/read rw - tmpfs none ro
            33 22 0:34 / /x/only ro,nosuid - tmpfs none rw
            34 22 0:35 / /xy rw - tmpfs none rw
            35 22 0:36 / /x rw - tmpfs none rw
            36 22 0:37 / /x/proc rw shared:2 - proc proc rw
            """
        let found = Submounts.candidates(below: "/x", MountEntry.all(mounts))
        #expect(found.map(\.path) == ["with space", "deep/er"])
        #expect(found.map(\.mount) == [31, 30])
        #expect(Submounts.candidates(below: "/", MountEntry.all(mounts)).map(\.path) == ["xy", "x", "x/with space", "x/deep/er"])
    }

    @Test("mounts of this host below a directory, also by a link, are found while they are visible", .enabled(if: effectiveUserID() == 0))
    func hostSubmounts() throws {
        let folder = "/tmp/microvm-submounts-\(processID())"
        for path in ["", "/a", "/a/b", "/c"] { mkdir(folder + path, 0o755) }
        symlink(folder, folder + "-link")
        let mounted = ["/a", "/a/b", "/c"].map { folder + $0 }
        defer {
            for path in mounted.reversed() { try? unmountFileSystem(path, flags: 2) }
            for path in ["/c", "/a", ""] { rmdir(folder + path) }
            unlink(folder + "-link")
        }
        try mountFileSystem("tmpfs", on: mounted[0])
        mkdir(mounted[1], 0o755)
        try mountFileSystem("tmpfs", on: mounted[1])
        try mountFileSystem("tmpfs", on: mounted[2], flags: MountFlag.readOnly)
        #expect(Submounts().writable(below: folder) == ["a", "a/b"])
        #expect(Submounts().writable(below: folder + "-link") == ["a", "a/b"])
        try mountFileSystem("tmpfs", on: mounted[0])
        defer { try? unmountFileSystem(mounted[0]) }
        #expect(Submounts().writable(below: folder) == ["a"])
    }

    @Test("the engine's shared memory becomes the guest's own, as large")
    func sharedMemory() throws {
        let plan = try plan(.hostMemory(65536)) { $0.mounts = [Mount(destination: "/dev/shm", type: "bind", source: "/x", options: ["bind", "rprivate", "nosuid"])] }
        #expect(plan.shares.count == 1)
        #expect(plan.guestSpec.mounts == [Mount(destination: "/dev/shm", type: "tmpfs", source: "shm", options: ["nosuid", "mode=1777", "size=65536"])])
    }

    @Test("devices that every kernel has become nodes in the guest; others of the host are refused by field")
    func devices() throws {
        let mount = Mount(destination: "/dev/null", type: "bind", source: "/dev/null", options: ["bind"])
        let plan = try plan(.characterDevice(1, 3)) { $0.mounts = [mount] }
        #expect(plan.guestSpec.linux?.devices.map(\.path) == ["/dev/null"])
        #expect(plan.guestSpec.mounts.isEmpty)
        for kind in [SourceKind.characterDevice(10, 232), .other("socket")] {
            let error = #expect(throws: SandboxError.self) { try self.plan(kind) { $0.mounts = [mount] } }
            #expect(error?.kind == .badInput)
            #expect(error?.description.contains("mounts[0].source") == true)
        }
    }

    @Test("what belongs to the host does not reach the guest")
    func hostParts() throws {
        let plan = try plan {
            var hooks = Hooks()
            hooks.prestart = [Hook(path: "/h")]
            hooks.createRuntime = [Hook(path: "/h")]
            hooks.startContainer = [Hook(path: "/g")]
            hooks.poststop = [Hook(path: "/h")]
            $0.hooks = hooks
            $0.annotations = ["secret": "x"]
            $0.linux?.namespaces = [LinuxNamespace(type: .network, path: "/proc/7/ns/net")]
            $0.linux?.cgroupsPath = "user.slice:podman:abc"
        }
        #expect(plan.guestSpec.hooks?.byStage.filter { !$0.hooks.isEmpty }.map(\.stage) == ["startContainer"])
        #expect(plan.guestSpec.annotations.isEmpty)
        #expect(plan.guestSpec.linux?.namespaces == [LinuxNamespace(type: .network)])
        #expect(plan.guestSpec.linux?.cgroupsPath == "")
    }

    func size(cpus: Int? = nil, memory: Int? = nil, softwareKVM: Bool = false, _ change: (inout Spec) -> Void = { _ in }) throws -> MachineSize {
        try MachineSize(bundle(change).spec, cpus: cpus, memory: memory, softwareKVM: softwareKVM)
    }

    @Test("flags come before the spec's hardware, that before its limits, and those before the default")
    func sizes() throws {
        func limits(_ spec: inout Spec) {
            var cpu = LinuxCPU()
            cpu.quota = 250_000
            cpu.period = 100_000
            spec.linux?.resources?.cpu = cpu
            var memory = LinuxMemory()
            memory.limit = 1 << 30
            spec.linux?.resources?.memory = memory
        }
        func hardware(_ spec: inout Spec) {
            limits(&spec)
            spec.vm = VM()
            spec.vm?.hwConfig = HWConfig(vcpus: 4, memory: 512 << 20)
        }
        let usual = try size()
        #expect(usual.cpus == 1 && usual.memory == 256 << 20)
        #expect(try size(softwareKVM: true).memory == 128 << 20)
        let limited = try size(limits)
        #expect(limited.cpus == 3 && limited.memory == (1 << 30) + (64 << 20))
        let given = try size(hardware)
        #expect(given.cpus == 4 && given.memory == 512 << 20)
        let chosen = try size(cpus: 2, memory: (100 << 20) + 1, hardware)
        #expect(chosen.cpus == 2 && chosen.memory == 102 << 20)
    }

    @Test("a machine grows from a template of one CPU and the default memory or less, where KVM does not interpret the guest")
    func growth() throws {
        func template(_ cpus: Int, _ mebibytes: Int, _ softwareKVM: Bool? = false) throws -> [Int]? {
            let found = try size(cpus: cpus, memory: mebibytes << 20).template(softwareKVM: softwareKVM)
            return found.map { [$0.size.cpus, $0.size.memory >> 20, $0.extraMemory >> 20] }
        }
        #expect(try template(1, 256) == nil)
        #expect(try template(1, 128) == nil)
        #expect(try template(1, 512) == [1, 256, 256])
        #expect(try template(4, 512) == [1, 256, 256])
        #expect(try template(16, 128) == [1, 128, 0])
        for kind in [true, nil] { #expect(try template(4, 512, kind) == nil) }
    }

    @Test("limits beyond all measure do not trap, and sizes out of range are refused by name")
    func extremes() throws {
        let huge = try size {
            var cpu = LinuxCPU()
            cpu.quota = .max
            cpu.period = 1
            $0.linux?.resources?.cpu = cpu
            var memory = LinuxMemory()
            memory.limit = .max
            $0.linux?.resources?.memory = memory
        }
        #expect(huge.cpus == 16 && huge.memory == 1 << 40)
        let error = #expect(throws: SandboxError.self) {
            try self.size {
                $0.vm = VM()
                $0.vm?.hwConfig = HWConfig(vcpus: 99)
            }
        }
        #expect(error?.description.contains("vm.hwConfig.vcpus") == true)
    }
}
