extension Validation {
    /// Values cgroup v2 would refuse or misread. Zero is "not set", as engines' `update` sends it.
    mutating func check(_ resources: LinuxResources) {
        let field = "linux.resources"
        for (index, rule) in resources.devices.enumerated() {
            if rule.access.contains(where: { !"rwm".contains($0) }) {
                warning("\(field).devices[\(index)].access", "\"\(rule.access)\" has letters other than r, w and m, which mean nothing")
            }
            for (name, number) in [("major", rule.major), ("minor", rule.minor)] {
                if let number, number < -1 || number > UInt32.max {
                    error("\(field).devices[\(index)].\(name)", "\(number) is no device number")
                }
            }
        }
        if let memory = resources.memory { check(memory, at: "\(field).memory") }
        if let cpu = resources.cpu { check(cpu, at: "\(field).cpu") }
        if let limit = resources.pids?.limit, limit < -1 { error("\(field).pids.limit", "\(limit) is below -1 (no limit)") }
        if let weight = resources.blockIO?.weight, weight != 0, !(10...1000).contains(weight) {
            error("\(field).blockIO.weight", "\(weight) is out of range 10...1000")
        }
        checkHugepages(resources.hugepageLimits, at: "\(field).hugepageLimits")
        for key in resources.unified.keys.sorted() { checkUnified(key) }
    }

    private mutating func check(_ memory: LinuxMemory, at field: String) {
        let sizes = [
            ("limit", memory.limit), ("reservation", memory.reservation), ("swap", memory.swap), ("kernel", memory.kernel),
            ("kernelTCP", memory.kernelTCP),
        ]
        for (name, size) in sizes {
            if let size, size < -1 { error("\(field).\(name)", "\(size) is below -1 (no limit)") }
        }
        let limit = memory.limit ?? 0
        if let swap = memory.swap, swap > 0 {
            if limit == 0 { error("\(field).swap", "needs limit, which it includes") }
            if limit == -1 || limit > swap { error("\(field).swap", "\(swap) is below limit, which it includes") }
        }
        if let reservation = memory.reservation, limit > 0, reservation > limit {
            error("\(field).reservation", "\(reservation) is over limit \(limit)")
        }
        if let swappiness = memory.swappiness, swappiness > 100 { error("\(field).swappiness", "\(swappiness) is out of range 0...100") }
    }

    private mutating func check(_ cpu: LinuxCPU, at field: String) {
        if let period = cpu.period, period != 0, !(1000...1_000_000).contains(period) {
            error("\(field).period", "\(period) is out of range 1000...1000000")
        }
        if let quota = cpu.quota, quota < -1 || (1..<1000).contains(quota) {
            error("\(field).quota", "\(quota) is below 1000, and not -1 (no limit)")
        }
        if let burst = cpu.burst, let quota = cpu.quota, quota > 0, burst > UInt64(quota) {
            error("\(field).burst", "\(burst) is over quota \(quota)")
        }
        if let idle = cpu.idle, !(0...1).contains(idle) { error("\(field).idle", "\(idle) is neither 0 nor 1") }
        checkCPUList(cpu.cpus, at: "\(field).cpus")
        checkCPUList(cpu.mems, at: "\(field).mems")
    }

    private mutating func checkHugepages(_ limits: [LinuxHugepageLimit], at field: String) {
        for (index, limit) in limits.enumerated() {
            // x86-64 has these two.
            if !["2MB", "1GB"].contains(limit.pageSize) {
                error("\(field)[\(index)].pageSize", "the guest has no pages of \"\(limit.pageSize)\"; it has 2MB and 1GB")
            }
            if limits[..<index].contains(where: { $0.pageSize == limit.pageSize }) {
                error("\(field)[\(index)].pageSize", "second limit for \(limit.pageSize)")
            }
        }
    }

    private mutating func checkUnified(_ key: String) {
        let field = FieldPath([.key("linux"), .key("resources"), .key("unified"), .key(key)]).description
        let controllers = ["cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids"]
        let parts = key.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count >= 2, !parts.contains(""), !key.contains("/"), let controller = parts.first else {
            // crun's words, here and below.
            return error(field, "the specified key has not the form CONTROLLER.VALUE `\(key)`")
        }
        if controller == "cgroup" { return error(field, "the files cgroup.* belong to the runtime") }
        if !controllers.contains(String(controller)) {
            error(field, "the requested cgroup controller `\(controller)` is not available; the guest has \(controllers.joined(separator: ", "))")
        }
    }
}
