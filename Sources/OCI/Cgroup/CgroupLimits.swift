/// What `linux.resources` comes to in cgroup v2's files. A spec speaks of version 1; conversions are runc's.
public struct CgroupLimits: Equatable, Sendable {
    public struct Write: Equatable, Sendable {
        public let file: String
        public let value: String
        /// Of the spec.
        public let field: String

        public init(_ file: String, _ value: String, _ field: String) {
            self.file = file
            self.value = value
            self.field = "linux.resources.\(field)"
        }
    }

    public private(set) var writes: [Write] = []

    /// - Throws: a combination no cgroup can have.
    public init(_ resources: LinuxResources) throws(InvalidField) {
        if let cpu = resources.cpu { add(cpu) }
        if let memory = resources.memory { try add(memory) }
        if let limit = resources.pids?.limit, limit != 0 { add("pids.max", limit > 0 ? "\(limit)" : "max", "pids.limit") }
        if let weight = resources.blockIO?.weight, weight != 0 {
            add("io.weight", "\(1 + (UInt64(max(weight, 10)) - 10) * 9999 / 990)", "blockIO.weight")
        }
        for (index, limit) in resources.hugepageLimits.enumerated() {
            add("hugetlb.\(limit.pageSize).max", "\(limit.limit)", "hugepageLimits[\(index)]")
            add("hugetlb.\(limit.pageSize).rsvd.max", "\(limit.limit)", "hugepageLimits[\(index)]")
        }
        for (file, value) in resources.unified.sorted(by: { $0.key < $1.key }) { add(file, value, "unified.\(file)") }
    }

    private mutating func add(_ file: String, _ value: String, _ field: String) {
        writes.append(Write(file, value, field))
    }

    private mutating func add(_ cpu: LinuxCPU) {
        if let idle = cpu.idle { add("cpu.idle", "\(idle)", "cpu.idle") }
        if let shares = cpu.shares, shares != 0 { add("cpu.weight", "\(Self.weight(ofShares: shares))", "cpu.shares") }
        if let burst = cpu.burst { add("cpu.max.burst", "\(burst)", "cpu.burst") }
        let quota = cpu.quota ?? 0
        let period = cpu.period ?? 0
        if quota != 0 || period != 0 {
            add("cpu.max", "\(quota > 0 ? "\(quota)" : "max") \(period == 0 ? 100_000 : period)", "cpu.quota")
        }
        if !cpu.cpus.isEmpty { add("cpuset.cpus", cpu.cpus, "cpu.cpus") }
        if !cpu.mems.isEmpty { add("cpuset.mems", cpu.mems, "cpu.mems") }
    }

    private mutating func add(_ memory: LinuxMemory) throws(InvalidField) {
        // Memory without limit is swap without limit, unless it says otherwise.
        let swap = memory.swap ?? 0
        if swap != 0 || memory.limit == -1 { add("memory.swap.max", try Self.swap(swap, with: memory.limit ?? 0), "memory.swap") }
        if let limit = memory.limit, limit != 0 { add("memory.max", limit > 0 ? "\(limit)" : "max", "memory.limit") }
        if let reservation = memory.reservation, reservation != 0 {
            add("memory.low", reservation > 0 ? "\(reservation)" : "max", "memory.reservation")
        }
    }

    /// 2...262144 to 1...10000.
    public static func weight(ofShares shares: UInt64) -> UInt64 {
        1 + (min(max(shares, 2), 262_144) - 2) * 9999 / 262_142
    }

    /// Version 1 counts memory and swap together.
    private static func swap(_ swap: Int64, with limit: Int64) throws(InvalidField) -> String {
        if swap == -1 || (limit == -1 && swap == 0) { return "max" }
        guard limit > 0, swap >= limit else {
            throw InvalidField("linux.resources.memory.swap", "\(swap) does not include a limit of \(limit)")
        }
        return "\(swap - limit)"
    }
}
