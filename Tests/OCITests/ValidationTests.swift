import Testing

@testable import OCI

struct ValidationTests {
    @Test("contradictory, unsupported or out-of-range values are refused by field name", arguments: [
        Case("ociVersion", "\"2.0.0\" is not supported") { $0.ociVersion = "2.0.0" },
        Case("ociVersion", "\"1.0\" is not supported") { $0.ociVersion = "1.0" },
        Case("root", "missing") { $0.root = nil },
        Case("root.path", "empty") { $0.root?.path = "" },
        Case("hostname", "needs a namespace of type uts") { $0.linux?.namespaces.removeAll { $0.type == .uts } },
        Case("hostname", "longer than 64") { $0.hostname = String(repeating: "h", count: 65) },
        Case("domainname", "needs a namespace of type uts") { spec in
            spec.domainname = "d"
            spec.linux?.namespaces.removeAll { $0.type == .uts }
        },
        Case("process.args", "names no program") { $0.process?.args = [] },
        Case("process.args", "names no program") { $0.process?.args = [""] },
        Case("process.cwd", "\"srv\" is not absolute") { $0.process?.cwd = "srv" },
        Case("process.env[1]", "has no \"=\"") { $0.process?.env = ["A=b", "B"] },
        Case("process.env[0]", "has no name") { $0.process?.env = ["=b"] },
        Case("process.consoleSize.width", "over 65535") { $0.process?.consoleSize = Box(height: 1, width: 65536) },
        Case("process.user.umask", "over 511") { $0.process?.user.umask = 0o1000 },
        Case("process.oomScoreAdj", "out of range") { $0.process?.oomScoreAdj = 1001 },
        Case("process.capabilities.effective", "CAP_CHOWN is not in permitted") { $0.process?.capabilities?.effective = ["CAP_CHOWN"] },
        Case("process.capabilities.inheritable", "CAP_CHOWN is not in bounding") { $0.process?.capabilities?.inheritable = ["CAP_CHOWN"] },
        Case("process.rlimits[1].type", "second RLIMIT_CPU") {
            $0.process?.rlimits = [POSIXRlimit(type: .cpu, hard: 1, soft: 1), POSIXRlimit(type: .cpu, hard: 2, soft: 1)]
        },
        Case("process.rlimits[0].soft", "2 is over the hard limit 1") { $0.process?.rlimits = [POSIXRlimit(type: .cpu, hard: 1, soft: 2)] },
        Case("process.scheduler.policy", "no Linux kernel") { $0.process?.scheduler = Scheduler(policy: .iso) },
        Case("process.scheduler.nice", "out of range") { $0.process?.scheduler = scheduler(.other) { $0.nice = 20 } },
        Case("process.scheduler.priority", "SCHED_FIFO needs one") { $0.process?.scheduler = Scheduler(policy: .fifo) },
        Case("process.scheduler.priority", "only SCHED_FIFO and SCHED_RR") {
            $0.process?.scheduler = scheduler(.batch) { $0.priority = 1 }
        },
        Case("process.scheduler", "SCHED_DEADLINE needs") { $0.process?.scheduler = Scheduler(policy: .deadline) },
        Case("process.scheduler.period", "only SCHED_DEADLINE") { $0.process?.scheduler = scheduler(.other) { $0.period = 1 } },
        Case("process.ioPriority.priority", "out of range 0...7") {
            $0.process?.ioPriority = LinuxIOPriority(class: .bestEffort, priority: 8)
        },
        Case("process.execCPUAffinity.final", "no list") { $0.process?.execCPUAffinity = CPUAffinity(final: "3-1") },
        Case("process.apparmorProfile", "no AppArmor") { $0.process?.apparmorProfile = "mine" },
        Case("process.selinuxLabel", "no SELinux") { $0.process?.selinuxLabel = "a:b:c:d" },
        Case("hooks.prestart[0].path", "not absolute") { spec in
            spec.hooks = Hooks()
            spec.hooks?.prestart = [Hook(path: "hook")]
        },
        Case("hooks.poststop[0].timeout", "not greater than zero") { spec in
            spec.hooks = Hooks()
            spec.hooks?.poststop = [Hook(path: "/hook", timeout: 0)]
        },
        Case("hooks.poststart[0].env[0]", "has no \"=\"") { spec in
            spec.hooks = Hooks()
            spec.hooks?.poststart = [Hook(path: "/hook", env: ["X"])]
        },
    ])
    func refused(_ test: Case) throws {
        try test.check()
    }

    @Test("mounts are refused by field name", arguments: [
        Case("mounts[0].destination", "empty") { $0.mounts = [Mount(destination: "", type: "proc")] },
        Case("mounts[0].type", "missing") { $0.mounts = [Mount(destination: "/a", source: "/b")] },
        Case("mounts[0].type", "the guest mounts no \"nfs\"") { $0.mounts = [Mount(destination: "/a", type: "nfs", source: "h:/b")] },
        Case("mounts[0].source", "a bind mount needs one") { $0.mounts = [Mount(destination: "/a", options: ["rbind"])] },
        Case("mounts[0].options", "\"bogus\" is no option of tmpfs") {
            $0.mounts = [Mount(destination: "/a", type: "tmpfs", options: ["nosuid", "size=1m", "bogus"])]
        },
        Case("mounts[0].options", "tmpcopyup is for tmpfs") {
            $0.mounts = [Mount(destination: "/a", type: "proc", options: ["tmpcopyup"])]
        },
        Case("mounts[0].gidMappings", "missing beside") {
            $0.mounts = [mapped(Mount(destination: "/a", source: "/b", options: ["bind", "idmap"]), uid: [range(0, 1, 1)])]
        },
        Case("mounts[0].options", "only a bind mount can have its ids mapped") {
            $0.mounts = [mapped(Mount(destination: "/a", type: "tmpfs"), uid: [range(0, 1, 1)], gid: [range(0, 1, 1)])]
        },
        Case("mounts[0].options", "is no map of ids") {
            $0.mounts = [Mount(destination: "/a", source: "/b", options: ["bind", "idmap=uids=0-1;gids=0-1-1"])]
        },
        Case("mounts[0].options", "is no map of ids") {
            $0.mounts = [Mount(destination: "/a", source: "/b", options: ["bind", "idmap=uids=@0-1-1;gids=0-1-1"])]
        },
        Case("mounts[0].options", "idmap without uidMappings needs") {
            $0.mounts = [Mount(destination: "/a", source: "/b", options: ["bind", "idmap"])]
        },
        Case("mounts[0].destination", "/proc/self/attr is inside /proc") {
            $0.mounts = [Mount(destination: "/x/../proc//./self/attr", source: "/b", options: ["bind"])]
        },
    ])
    func refusedMounts(_ test: Case) throws {
        try test.check()
    }

    @Test("the linux section is refused by field name", arguments: [
        Case("linux.namespaces[6].type", "second namespace of type pid") { $0.linux?.namespaces.append(LinuxNamespace(type: .pid)) },
        Case("linux.namespaces[0].path", "\"ns\" is not absolute") { $0.linux?.namespaces[0].path = "ns" },
        Case("linux.uidMappings", "needs a namespace of type user") { $0.linux?.uidMappings = [range(0, 1, 1)] },
        Case("linux.gidMappings", "missing for the new user namespace") { spec in
            spec.linux?.namespaces.append(LinuxNamespace(type: .user))
            spec.linux?.uidMappings = [range(0, 1, 1)]
        },
        Case("process.user.uid", "7 is not in linux.uidMappings") { spec in
            userNamespace(&spec)
            spec.process?.user.uid = 7
        },
        Case("linux.uidMappings[1].containerID", "mapped twice") { spec in
            userNamespace(&spec)
            spec.linux?.uidMappings = [range(0, 10, 5), range(4, 100, 1)]
        },
        Case("linux.uidMappings[1].hostID", "mapped twice") { spec in
            userNamespace(&spec)
            spec.linux?.uidMappings = [range(0, 10, 5), range(20, 14, 1)]
        },
        Case("linux.uidMappings[0].size", "zero") { spec in
            userNamespace(&spec)
            spec.linux?.uidMappings = [range(0, 10, 0)]
        },
        Case("linux.uidMappings[0].size", "reaches past the last id") { spec in
            userNamespace(&spec)
            spec.linux?.uidMappings = [range(0, 10, .max)]
        },
        Case("linux.timeOffsets", "needs a namespace of type time") { $0.linux?.timeOffsets = ["boottime": LinuxTimeOffset(secs: 1)] },
        Case("linux.timeOffsets.realtime", "unknown clock") { spec in
            spec.linux?.namespaces.append(LinuxNamespace(type: .time))
            spec.linux?.timeOffsets = ["realtime": LinuxTimeOffset(secs: 1)]
        },
        Case("linux.timeOffsets.boottime.nanosecs", "more than a second") { spec in
            spec.linux?.namespaces.append(LinuxNamespace(type: .time))
            spec.linux?.timeOffsets = ["boottime": LinuxTimeOffset(nanosecs: 1_000_000_000)]
        },
        Case("linux.sysctl[\"kernel/../../etc\"]", "no name of a sysctl") { $0.linux?.sysctl = ["kernel/../../etc": "1"] },
        Case("linux.sysctl.kernel", "no name of a sysctl") { $0.linux?.sysctl = ["kernel": "1"] },
        Case("linux.sysctl[\"kernel.msgmax\"]", "needs a namespace of type ipc") {
            $0.linux?.namespaces.removeAll { $0.type == .ipc }
            $0.linux?.sysctl = ["kernel.msgmax": "8192"]
        },
        Case("linux.sysctl[\"net.ipv4.ip_forward\"]", "needs a namespace of type network") {
            $0.linux?.namespaces.removeAll { $0.type == .network }
            $0.linux?.sysctl = ["net.ipv4.ip_forward": "1"]
        },
        Case("linux.sysctl[\"kernel.domainname\"]", "contradicts domainname") {
            $0.domainname = "a"
            $0.linux?.sysctl = ["kernel.domainname": "b"]
        },
        Case("linux.sysctl[\"kernel.hostname\"]", "contradicts hostname") { $0.linux?.sysctl = ["kernel.hostname": "x"] },
        Case("linux.cgroupsPath", "leaves the cgroup mount") { $0.linux?.cgroupsPath = "/a/../../b" },
        Case("linux.maskedPaths[0]", "not absolute") { $0.linux?.maskedPaths = ["proc/kcore"] },
        Case("linux.readonlyPaths[0]", "not absolute") { $0.linux?.readonlyPaths = [""] },
        Case("linux.devices[0].path", "not absolute") {
            $0.linux?.devices = [LinuxDevice(path: "fuse", type: .character, major: 10, minor: 229)]
        },
        Case("linux.devices[0].major", "missing") { $0.linux?.devices = [LinuxDevice(path: "/dev/fuse", type: .character, minor: 229)] },
        Case("linux.devices[0].minor", "out of range") {
            $0.linux?.devices = [LinuxDevice(path: "/dev/fuse", type: .character, major: 10, minor: 1 << 20)]
        },
        Case("linux.devices[1].path", "another device already") {
            $0.linux?.devices = [
                LinuxDevice(path: "/dev/a", type: .character, major: 10, minor: 1), LinuxDevice(path: "/dev/a", type: .fifo),
            ]
        },
        Case("linux.netDevices", "cannot be moved") { $0.linux?.netDevices = ["eth0": LinuxNetDevice(name: "x")] },
        Case("linux.intelRdt", "not assigned") { spec in
            var rdt = LinuxIntelRdt()
            rdt.closID = "c"
            spec.linux?.intelRdt = rdt
        },
        Case("linux.memoryPolicy", "one memory node") { $0.linux?.memoryPolicy = LinuxMemoryPolicy(mode: "MPOL_BIND") },
        Case("linux.mountLabel", "no SELinux") { $0.linux?.mountLabel = "l" },
        Case("linux.personality.flags", "defines no flags") { spec in
            var personality = LinuxPersonality(domain: .linux32)
            personality.flags = ["ADDR_NO_RANDOMIZE"]
            spec.linux?.personality = personality
        },
        Case("vm.kernel", "operator's choice") { spec in
            spec.vm = VM()
            spec.vm?.kernel = VMKernel(path: "/boot/vmlinux")
        },
    ])
    func refusedLinux(_ test: Case) throws {
        try test.check()
    }

    @Test("resources are refused by field name", arguments: [
        Case.resources("devices[0].major", "no device number") { $0.devices = [LinuxDeviceCgroup(allow: true, major: -2)] },
        Case.memory("limit", "below -1") { $0.limit = -2 },
        Case.memory("swap", "needs limit") { $0.swap = 1 << 20 },
        Case.memory("swap", "below limit") { ($0.limit, $0.swap) = (2 << 20, 1 << 20) },
        Case.memory("reservation", "over limit") { ($0.limit, $0.reservation) = (1 << 20, 2 << 20) },
        Case.memory("swappiness", "out of range") { $0.swappiness = 101 },
        Case.cpu("period", "out of range") { $0.period = 999 },
        Case.cpu("quota", "below 1000") { $0.quota = 999 },
        Case.cpu("burst", "over quota") { ($0.quota, $0.burst) = (1000, 1001) },
        Case.cpu("idle", "neither 0 nor 1") { $0.idle = 2 },
        Case.cpu("cpus", "no list") { $0.cpus = "a" },
        Case.cpu("mems", "no list") { $0.mems = "0,,1" },
        Case.cpu("realtimeRuntime", "no realtime limits") { $0.realtimeRuntime = 1 },
        Case.resources("pids.limit", "below -1") { $0.pids = LinuxPids(limit: -2) },
        Case.resources("blockIO.weight", "out of range") { resources in
            var block = LinuxBlockIO()
            block.weight = 5
            resources.blockIO = block
        },
        Case.resources("hugepageLimits[0].pageSize", "no pages of \"64KB\"") {
            $0.hugepageLimits = [LinuxHugepageLimit(pageSize: "64KB", limit: 1)]
        },
        Case.resources("hugepageLimits[1].pageSize", "second limit") {
            $0.hugepageLimits = [LinuxHugepageLimit(pageSize: "2MB", limit: 1), LinuxHugepageLimit(pageSize: "2MB", limit: 1)]
        },
        Case.resources("rdma", "no RDMA") { resources in
            var limits = LinuxRdma()
            limits.hcaHandles = 1
            resources.rdma = ["mlx5_0": limits]
        },
        Case.resources("unified[\"../x.max\"]", "not the form CONTROLLER.VALUE `../x.max`") { $0.unified = ["../x.max": "1"] },
        Case.resources("unified[\"rdma.max\"]", "the requested cgroup controller `rdma` is not available") { $0.unified = ["rdma.max": "1"] },
        Case.resources("unified[\"cgroup.freeze\"]", "belong to the runtime") { $0.unified = ["cgroup.freeze": "1"] },
    ])
    func refusedResources(_ test: Case) throws {
        try test.check()
    }

    @Test("seccomp is refused by field name", arguments: [
        Case.seccomp("defaultAction", "notifications") { $0.defaultAction = .notify },
        Case.seccomp("defaultErrnoRet", "returns no error number") { ($0.defaultAction, $0.defaultErrnoRet) = (.kill, 1) },
        Case.seccomp("defaultErrnoRet", "over 4095") { $0.defaultErrnoRet = 4096 },
        Case.seccomp("syscalls[0].names", "empty") { $0.syscalls = [LinuxSyscall(names: [], action: .allow)] },
        Case.seccomp("syscalls[0].errnoRet", "returns no error number") {
            $0.syscalls = [LinuxSyscall(names: ["read"], action: .allow, errnoRet: 1)]
        },
        Case.seccomp("syscalls[0].args[0].index", "out of range") {
            $0.syscalls = [LinuxSyscall(names: ["read"], action: .allow, args: [LinuxSeccompArg(index: 6, value: 0, op: .equalTo)])]
        },
        Case.seccomp("syscalls[1]", "notifications") {
            $0.syscalls = [LinuxSyscall(names: ["read"], action: .allow), LinuxSyscall(names: ["mount"], action: .notify)]
        },
        Case.seccomp("flags[0]", "goes with a listener") { $0.flags = [.waitKillableRecv] },
    ])
    func refusedSeccomp(_ test: Case) throws {
        try test.check()
    }

    @Test("a listener of notifications that no rule sends is not missed")
    func unusedListener() throws {
        var spec = Spec.template()
        var seccomp = LinuxSeccomp(defaultAction: .errno)
        (seccomp.listenerPath, seccomp.listenerMetadata) = ("/run/s", "x")
        spec.linux?.seccomp = seccomp
        #expect(spec.problems().allSatisfy { !$0.field.hasPrefix("linux.seccomp") })
    }

    @Test("what only weakens the container is a warning, and the spec stays valid", arguments: [
        Case.resources("devices[0].access", "letters other than") { $0.devices = [LinuxDeviceCgroup(allow: true, access: "rx")] },
        Case("mounts[0].options", "\"size=1m\" is no option of a bind mount") {
            $0.mounts = [Mount(destination: "/a", type: "bind", source: "/b", options: ["bind", "size=1m"])]
        },
        Case.memory("disableOOMKiller", "no such switch") { $0.disableOOMKiller = true },
        Case.resources("network", "no network classes") { resources in
            var network = LinuxNetwork()
            network.classID = 1
            resources.network = network
        },
        Case("process.capabilities.bounding[0]", "unknown capability \"CAP_EVERYTHING\"") {
            $0.process?.capabilities?.bounding.insert("CAP_EVERYTHING", at: 0)
        },
        Case("process.capabilities.ambient", "CAP_KILL must be permitted and inheritable") {
            $0.process?.capabilities?.ambient = ["CAP_KILL"]
        },
        Case("mounts[0].destination", "relative destinations are deprecated") { $0.mounts[0].destination = "proc" },
        Case("linux.namespaces", "without type network") { $0.linux?.namespaces.removeAll { $0.type == .network } },
        Case("linux.namespaces[0].path", "joined by the container's process on the host only") { $0.linux?.namespaces[0].path = "/run/pidns/a" },
        Case("process.apparmorProfile", "not applied") { $0.process?.apparmorProfile = "docker-default" },
        Case.memory("kernel", "counts it in limit") { $0.kernel = 1 << 20 },
    ])
    func warned(_ test: Case) throws {
        var spec = Spec.template()
        test.change(&spec)
        let warnings = try spec.validate()
        #expect(warnings.contains { $0.field == test.field && $0.message.contains(test.message) }, "\(warnings)")
    }

    @Test("container ids that are safe as file names are taken, others not", arguments: [
        ("a", true), ("web-1_x.y+z", true), ("", false), (".", false), ("..", false), ("a/b", false), ("é", false),
        ("a b", false), ("a\n", false),
    ])
    func containerIDs(id: String, valid: Bool) {
        #expect(isValidContainerID(id) == valid)
    }

    @Test("an exec's process and an update's resources are validated by the same rules")
    func partialSpecs() throws {
        #expect(throws: InvalidSpec.self) { try Process(args: ["a"], cwd: "relative").validate() }
        try Process(args: ["a"]).validate()
        var resources = LinuxResources()
        resources.pids = LinuxPids(limit: 10)
        try resources.validate()
        resources.pids = LinuxPids(limit: -5)
        #expect(throws: InvalidSpec.self) { try resources.validate() }
    }

    @Test("the error of an invalid spec is one line that names the first field and counts the rest")
    func oneLine() {
        var spec = Spec.template()
        spec.process?.cwd = "x"
        spec.linux?.mountLabel = "y"
        #expect {
            try spec.validate()
        } throws: {
            "\($0)" == "process.cwd: \"x\" is not absolute (and 1 more; see microvm explain)"
        }
    }

    /// A change to a spec that is fine, and what is then said about which field.
    struct Case: Sendable, CustomTestStringConvertible {
        let field: String
        let message: String
        let change: @Sendable (inout Spec) -> Void

        init(_ field: String, _ message: String, _ change: @escaping @Sendable (inout Spec) -> Void) {
            self.field = field
            self.message = message
            self.change = change
        }

        var testDescription: String { "\(field): \(message)" }

        func check() throws {
            var spec = Spec.template()
            change(&spec)
            let error = try #require(throws: InvalidSpec.self) { try spec.validate() }
            #expect(error.problems.contains { $0.field == field && $0.message.contains(message) }, "\(error.problems)")
        }

        static func resources(_ field: String, _ message: String, _ change: @escaping @Sendable (inout LinuxResources) -> Void) -> Case {
            Case("linux.resources.\(field)", message) { spec in
                var resources = LinuxResources()
                change(&resources)
                spec.linux?.resources = resources
            }
        }

        static func memory(_ field: String, _ message: String, _ change: @escaping @Sendable (inout LinuxMemory) -> Void) -> Case {
            resources("memory.\(field)", message) { resources in
                var memory = LinuxMemory()
                change(&memory)
                resources.memory = memory
            }
        }

        static func cpu(_ field: String, _ message: String, _ change: @escaping @Sendable (inout LinuxCPU) -> Void) -> Case {
            resources("cpu.\(field)", message) { resources in
                var cpu = LinuxCPU()
                change(&cpu)
                resources.cpu = cpu
            }
        }

        static func seccomp(_ field: String, _ message: String, _ change: @escaping @Sendable (inout LinuxSeccomp) -> Void) -> Case {
            Case("linux.seccomp.\(field)", message) { spec in
                var seccomp = LinuxSeccomp(defaultAction: .errno)
                change(&seccomp)
                spec.linux?.seccomp = seccomp
            }
        }
    }
}

private func range(_ container: UInt32, _ host: UInt32, _ size: UInt32) -> LinuxIDMapping {
    LinuxIDMapping(containerID: container, hostID: host, size: size)
}

private func mapped(_ mount: Mount, uid: [LinuxIDMapping] = [], gid: [LinuxIDMapping] = []) -> Mount {
    var mount = mount
    mount.uidMappings = uid
    mount.gidMappings = gid
    return mount
}

private func scheduler(_ policy: SchedulerPolicy, _ change: (inout Scheduler) -> Void) -> Scheduler {
    var scheduler = Scheduler(policy: policy)
    change(&scheduler)
    return scheduler
}

private func userNamespace(_ spec: inout Spec) {
    spec.linux?.namespaces.append(LinuxNamespace(type: .user))
    spec.linux?.uidMappings = [range(0, 1000, 1)]
    spec.linux?.gidMappings = [range(0, 1000, 1)]
}
