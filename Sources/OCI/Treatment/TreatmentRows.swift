/// What a virtual machine makes of each field of the runtime-spec. The one place that says so:
/// validation refuses by it, `explain` prints it, `features` follows it.
///
/// A row speaks for everything below its field; a row further down, or with a condition, takes precedence.
let treatmentRows: [TreatmentTable.Row] = [
    .init("ociVersion", .host),
    .init("root.path", .host, "shared with the guest by virtio-fs"),
    .init("root.readonly", .guest),
    .init("hostname", .guest),
    .init("domainname", .guest),
    .init("annotations", .host, "passed to hooks and state; run.oci.keep_original_groups is crun's, no other changes the sandbox"),
] + processRows + mountRows + hookRows + linuxRows + resourceRows + virtualMachineRows

private let confinedByMachine = "not applied: the virtual machine confines the container instead"
private let unnotified = "for SCMP_ACT_NOTIFY only, which is refused"
private let notified = "a listener on the host cannot take the guest's notifications"
private let onlyVersion1 = "applied where the host has cgroup version 1"

private let processRows: [TreatmentTable.Row] = [
    .init("process.terminal", .guest, "a pseudoterminal of the guest"),
    .init("process.consoleSize", .guest),
    .init("process.user", .guest),
    .init("process.args", .guest),
    .init("process.env", .guest),
    .init("process.cwd", .guest),
    .init("process.capabilities", .guest, "over the guest's kernel only"),
    .init("process.rlimits", .guest),
    .init("process.noNewPrivileges", .guest),
    .init("process.oomScoreAdj", .guest),
    .init("process.scheduler", .guest, "among the guest's processes"),
    .init("process.scheduler.policy=SCHED_ISO", .refused, "no Linux kernel has this policy"),
    .init("process.ioPriority", .guest, "among the guest's processes"),
    .init("process.execCPUAffinity", .guest, "numbers the guest's CPUs"),
    // Engines set their own profile on every container when the host has the module. What it protects,
    // the host's kernel, the container does not reach here. A profile somebody wrote is another matter.
    .init("process.apparmorProfile", .refused, "the guest's kernel has no AppArmor"),
    .init("process.apparmorProfile=unconfined", .guest),
    .init("process.apparmorProfile=docker-default", .weakened, confinedByMachine),
    .init("process.apparmorProfile=containers-default*", .weakened, confinedByMachine),
    .init("process.apparmorProfile=crio-default", .weakened, confinedByMachine),
    .init("process.apparmorProfile=cri-containerd.apparmor.d", .weakened, confinedByMachine),
    .init("process.selinuxLabel", .refused, "the guest's kernel has no SELinux"),
    .init("process.selinuxLabel=*:container_t:*", .weakened, confinedByMachine),
    .init("process.selinuxLabel=*:container_kvm_t:*", .weakened, confinedByMachine),
    .init("process.selinuxLabel=*:container_init_t:*", .weakened, confinedByMachine),
    .init("process.selinuxLabel=*:spc_t:*", .guest, "the type that confines nothing"),
]

private let mountRows: [TreatmentTable.Row] = [
    .init("mounts[]", .guest, "by the guest's kernel"),
    .init("mounts[type=cgroup]", .guest, "cgroup v2, whatever version the host has"),
    .init("mounts[type=bind]", .host, "shared with the guest by virtio-fs"),
    .init("mounts[type=none]", .host, "shared with the guest by virtio-fs"),
    .init("mounts[].uidMappings", .host, "by this host's kernel, where the source's file system can have its ids mapped"),
    .init("mounts[].gidMappings", .host, "by this host's kernel, where the source's file system can have its ids mapped"),
]

private let hookRows: [TreatmentTable.Row] = [
    .init("hooks.prestart", .host),
    .init("hooks.createRuntime", .host),
    .init("hooks.createContainer", .host, "in the namespaces of the container's process there; in the guest if this host has no such program"),
    .init("hooks.startContainer", .guest, "in the container's namespaces"),
    .init("hooks.poststart", .host),
    .init("hooks.poststop", .host),
]

private let linuxRows: [TreatmentTable.Row] = [
    .init("linux.uidMappings", .guest, "among the guest's users"),
    .init("linux.gidMappings", .guest, "among the guest's groups"),
    .init("linux.sysctl", .guest, "of the guest's kernel, which is the container's own"),
    .init("linux.cgroupsPath", .host, "the host's, which the virtual machine is placed in, and the guest's"),
    .init("linux.namespaces[]", .guest),
    .init("linux.namespaces[type=network]", .guest, "the virtual machine's own network stack, with the interfaces of the host's namespace"),
    .init("linux.namespaces[].path", .weakened, "joined by the container's process on the host only: the container has one of the guest's kernel"),
    .init("linux.namespaces[type=network].path", .host, "joined; the virtual machine gets its interfaces, addresses and routes"),
    .init("linux.devices[]", .guest, "the guest's device of that number"),
    .init("linux.devices[type=b]", .weakened, "a node without a device: the host's block devices are not passed through"),
    .init("linux.netDevices", .refused, "network devices of the host cannot be moved into a virtual machine"),
    .init("linux.seccomp", .guest),
    .init("linux.seccomp.listenerPath", .ignored, unnotified),
    .init("linux.seccomp.listenerMetadata", .ignored, unnotified),
    .init("linux.seccomp.defaultAction=SCMP_ACT_NOTIFY", .refused, notified),
    .init("linux.seccomp.syscalls[action=SCMP_ACT_NOTIFY]", .refused, notified),
    .init("linux.seccomp.flags[]=SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", .refused, "goes with a listener"),
    .init("linux.rootfsPropagation", .guest),
    .init("linux.maskedPaths", .guest),
    .init("linux.readonlyPaths", .guest),
    .init("linux.mountLabel", .refused, "the guest's kernel has no SELinux"),
    .init("linux.mountLabel=*:container_file_t:*", .weakened, confinedByMachine),
    .init("linux.mountLabel=*:svirt_sandbox_file_t:*", .weakened, confinedByMachine),
    .init("linux.intelRdt", .refused, "cache and bandwidth classes are not assigned to virtual machines"),
    .init("linux.memoryPolicy", .refused, "the guest has one memory node"),
    .init("linux.personality", .guest),
    .init("linux.personality.flags", .refused, "the specification defines no flags"),
    .init("linux.timeOffsets", .guest),
]

private let resourceRows: [TreatmentTable.Row] = [
    .init("linux.resources.devices", .guest, "over the guest's devices"),
    .init("linux.resources.memory.limit", .guest),
    .init("linux.resources.memory.reservation", .guest),
    .init("linux.resources.memory.swap", .guest, "the guest has no swap"),
    .init("linux.resources.memory.kernel", .weakened, "cgroup v2 counts it in limit"),
    .init("linux.resources.memory.kernelTCP", .weakened, "cgroup v2 counts it in limit"),
    .init("linux.resources.memory.swappiness", .weakened, "the guest has no swap"),
    .init("linux.resources.memory.disableOOMKiller", .weakened, "cgroup v2 has no such switch"),
    .init("linux.resources.memory.useHierarchy", .guest, "cgroup v2 always does"),
    .init("linux.resources.memory.checkBeforeUpdate", .guest),
    .init("linux.resources.cpu.shares", .guest, "as cpu.weight"),
    .init("linux.resources.cpu.quota", .guest, "of the guest's CPUs"),
    .init("linux.resources.cpu.burst", .guest),
    .init("linux.resources.cpu.period", .guest),
    .init("linux.resources.cpu.realtimeRuntime", .refused, "cgroup v2 has no realtime limits"),
    .init("linux.resources.cpu.realtimePeriod", .refused, "cgroup v2 has no realtime limits"),
    .init("linux.resources.cpu.cpus", .host, "the virtual machine runs on these CPUs of the host"),
    .init("linux.resources.cpu.mems", .host, "the virtual machine's memory is of these nodes of the host"),
    .init("linux.resources.cpu.idle", .guest),
    .init("linux.resources.pids", .guest),
    .init("linux.resources.blockIO.weight", .weakened, "counts among the guest's block devices; shared files are not among them"),
    .init("linux.resources.blockIO.leafWeight", .weakened, onlyVersion1),
    .init("linux.resources.blockIO.weightDevice", .weakened, onlyVersion1),
    .init("linux.resources.blockIO.throttleReadBpsDevice", .host),
    .init("linux.resources.blockIO.throttleWriteBpsDevice", .host),
    .init("linux.resources.blockIO.throttleReadIOPSDevice", .host),
    .init("linux.resources.blockIO.throttleWriteIOPSDevice", .host),
    .init("linux.resources.hugepageLimits", .guest),
    .init("linux.resources.network", .weakened, "cgroup v2 has no network classes"),
    .init("linux.resources.rdma", .refused, "the guest has no RDMA devices"),
    .init("linux.resources.unified", .guest),
]

// The runtime-spec lets a bundle name programs and files of the host here; this runtime's operator names
// them, and whoever writes a bundle does not.
private let virtualMachineRows: [TreatmentTable.Row] = [
    .init("vm.hypervisor", .refused, "the hypervisor is microvm's own"),
    .init("vm.kernel", .refused, "the kernel is the operator's choice: microvm run --kernel"),
    .init("vm.image", .refused, "the guest image is the operator's choice"),
    .init("vm.hwConfig.vcpus", .host),
    .init("vm.hwConfig.memory", .host),
    .init("vm.hwConfig.deviceTree", .refused, "x86 machines have none"),
    .init("vm.hwConfig.dtdevs", .refused, "no device of the host is passed through"),
    .init("vm.hwConfig.iomems", .refused, "no memory of the host's devices is passed through"),
    .init("vm.hwConfig.irqs", .refused, "no interrupt of the host is passed through"),
]
