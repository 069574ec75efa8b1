extension Spec {
    /// What `spec` writes: the defaults of `runc spec`, for a shell on a terminal.
    ///
    /// Two things differ. There is a cgroup namespace, because the guest always has cgroup v2 (runc adds
    /// it on such hosts). And no capability is ambient, because none is inheritable, which ambient ones must be.
    public static func template() -> Spec {
        var spec = Spec()
        var process = Process(
            args: ["sh"],
            env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"])
        let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
        process.terminal = true
        process.capabilities = LinuxCapabilities(bounding: capabilities, effective: capabilities, permitted: capabilities)
        process.rlimits = [POSIXRlimit(type: .nofile, hard: 1024, soft: 1024)]
        process.noNewPrivileges = true
        spec.process = process
        spec.root = Root(path: "rootfs", readonly: true)
        spec.hostname = "microvm"
        spec.mounts = defaultMounts
        var linux = LinuxConfig()
        var resources = LinuxResources()
        resources.devices = [LinuxDeviceCgroup(allow: false, access: "rwm")]
        linux.resources = resources
        linux.namespaces = [.pid, .network, .ipc, .uts, .mount, .cgroup].map { LinuxNamespace(type: $0) }
        linux.maskedPaths = [
            "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
            "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
        ]
        linux.readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        spec.linux = linux
        return spec
    }

    /// What `spec --rootless` writes: root inside is the calling user, whose files the bundle's are.
    ///
    /// - Parameters: the caller's ids on the host.
    public static func rootlessTemplate(uid: UInt32, gid: UInt32) -> Spec {
        var spec = template()
        // Unlike runc the network namespace and sysfs stay: they are the virtual machine's, not the host's.
        spec.linux?.namespaces.append(LinuxNamespace(type: .user))
        spec.linux?.uidMappings = [LinuxIDMapping(containerID: 0, hostID: uid, size: 1)]
        spec.linux?.gidMappings = [LinuxIDMapping(containerID: 0, hostID: gid, size: 1)]
        spec.linux?.resources = nil
        // The terminals' group, 5, is not among the mapped ones.
        spec.mounts = spec.mounts.map { mount in
            var mount = mount
            mount.options.removeAll { $0.hasPrefix("gid=") }
            return mount
        }
        return spec
    }

    private static var defaultMounts: [Mount] {
        [
            Mount(destination: "/proc", type: "proc", source: "proc"),
            Mount(destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "strictatime", "mode=755", "size=65536k"]),
            Mount(
                destination: "/dev/pts", type: "devpts", source: "devpts",
                options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            Mount(
                destination: "/dev/shm", type: "tmpfs", source: "shm", options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            Mount(destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"]),
            Mount(destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"]),
            Mount(
                destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ]
    }
}
