import OCI

/// What `linux.resources` comes to in the files of cgroup version 1, by controller. Values are the spec's own.
struct CgroupV1Limits: Equatable {
    private(set) var writes: [(controller: String, write: CgroupLimits.Write)] = []

    static func == (one: CgroupV1Limits, other: CgroupV1Limits) -> Bool {
        one.writes.map(\.controller) == other.writes.map(\.controller) && one.writes.map(\.write) == other.writes.map(\.write)
    }

    init(_ resources: LinuxResources) {
        if let cpu = resources.cpu { add(cpu) }
        if let memory = resources.memory { add(memory) }
        if let limit = resources.pids?.limit, limit != 0 { add("pids", "pids.max", limit > 0 ? "\(limit)" : "max", "pids.limit") }
        if let blockIO = resources.blockIO { add(blockIO) }
        for (index, limit) in resources.hugepageLimits.enumerated() {
            add("hugetlb", "hugetlb.\(limit.pageSize).limit_in_bytes", "\(limit.limit)", "hugepageLimits[\(index)]")
        }
    }

    private mutating func add(_ controller: String, _ file: String, _ value: String, _ field: String) {
        writes.append((controller, CgroupLimits.Write(file, value, field)))
    }

    private mutating func add(_ cpu: LinuxCPU) {
        if !cpu.cpus.isEmpty { add("cpuset", "cpuset.cpus", cpu.cpus, "cpu.cpus") }
        if !cpu.mems.isEmpty { add("cpuset", "cpuset.mems", cpu.mems, "cpu.mems") }
        if let shares = cpu.shares, shares != 0 { add("cpu", "cpu.shares", "\(shares)", "cpu.shares") }
        if let period = cpu.period, period != 0 { add("cpu", "cpu.cfs_period_us", "\(period)", "cpu.period") }
        if let quota = cpu.quota, quota != 0 { add("cpu", "cpu.cfs_quota_us", "\(quota)", "cpu.quota") }
        if let burst = cpu.burst { add("cpu", "cpu.cfs_burst_us", "\(burst)", "cpu.burst") }
        if let idle = cpu.idle { add("cpu", "cpu.idle", "\(idle)", "cpu.idle") }
    }

    private mutating func add(_ memory: LinuxMemory) {
        // Memory without limit is swap without limit, unless it says otherwise.
        let swap = memory.limit == -1 && (memory.swap ?? 0) == 0 ? -1 : memory.swap
        let limits = [
            ("limit_in_bytes", memory.limit, "limit"), ("memsw.limit_in_bytes", swap, "swap"),
            ("soft_limit_in_bytes", memory.reservation, "reservation"), ("kmem.tcp.limit_in_bytes", memory.kernelTCP, "kernelTCP"),
        ]
        for case (let file, let value?, let field) in limits where value != 0 { add("memory", "memory.\(file)", "\(value)", "memory.\(field)") }
        if let swappiness = memory.swappiness { add("memory", "memory.swappiness", "\(swappiness)", "memory.swappiness") }
    }

    private mutating func add(_ blockIO: LinuxBlockIO) {
        if let weight = blockIO.weight, weight != 0 {
            // Which of the two there is depends on the kernel's I/O scheduler.
            add("blkio", "blkio.weight", "\(weight)", "blockIO.weight")
            add("blkio", "blkio.bfq.weight", "\(weight)", "blockIO.weight")
        }
        if let weight = blockIO.leafWeight, weight != 0 { add("blkio", "blkio.leaf_weight", "\(weight)", "blockIO.leafWeight") }
        for device in blockIO.weightDevice {
            if let weight = device.weight, weight != 0 {
                add("blkio", "blkio.weight_device", "\(device.major):\(device.minor) \(weight)", "blockIO.weightDevice")
            }
            if let weight = device.leafWeight, weight != 0 {
                add("blkio", "blkio.leaf_weight_device", "\(device.major):\(device.minor) \(weight)", "blockIO.weightDevice")
            }
        }
        for (file, devices, field) in blockIO.throttles {
            for device in devices { add("blkio", "blkio.throttle.\(file.v1)", "\(device.major):\(device.minor) \(device.rate)", "blockIO.\(field)") }
        }
    }

    /// The rules of the device controller, in their order, and what every container may use (runc's list).
    static func devices(_ rules: [LinuxDeviceCgroup]) -> [CgroupLimits.Write] {
        guard !rules.isEmpty else { return [] }
        let common = ["c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm"]
        return rules.compactMap { rule in text(rule).map { CgroupLimits.Write(rule.allow ? "devices.allow" : "devices.deny", $0, "devices") } }
            + common.map { CgroupLimits.Write("devices.allow", $0, "devices") }
    }

    /// Nil: it is about no access there is.
    private static func text(_ rule: LinuxDeviceCgroup) -> String? {
        func number(_ value: Int64?) -> String { value.map { $0 < 0 ? "*" : "\($0)" } ?? "*" }
        let type = rule.type ?? .all
        if type == .all { return "a" }
        // The kernel takes no other letters.
        let access = rule.access.isEmpty ? "rwm" : rule.access.filter { "rwm".contains($0) }
        return access.isEmpty ? nil : "\(type.rawValue) \(number(rule.major)):\(number(rule.minor)) \(access)"
    }
}

extension LinuxBlockIO {
    /// By the names of version 1 and 2.
    var throttles: [(file: (v1: String, v2: String), devices: [LinuxThrottleDevice], field: String)] {
        [
            (("read_bps_device", "rbps"), throttleReadBpsDevice, "throttleReadBpsDevice"),
            (("write_bps_device", "wbps"), throttleWriteBpsDevice, "throttleWriteBpsDevice"),
            (("read_iops_device", "riops"), throttleReadIOPSDevice, "throttleReadIOPSDevice"),
            (("write_iops_device", "wiops"), throttleWriteIOPSDevice, "throttleWriteIOPSDevice"),
        ]
    }
}
