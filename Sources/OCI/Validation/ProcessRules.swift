extension Validation {
    mutating func check(_ process: Process) {
        if process.args.isEmpty || process.args.first == "" { error("process.args", "names no program") }
        if !process.cwd.hasPrefix("/") { error("process.cwd", "\"\(process.cwd)\" is not absolute") }
        checkEnvironment(process.env, at: "process.env")
        if process.terminal, let size = process.consoleSize {
            if size.height > UInt16.max { error("process.consoleSize.height", "\(size.height) is over \(UInt16.max)") }
            if size.width > UInt16.max { error("process.consoleSize.width", "\(size.width) is over \(UInt16.max)") }
        }
        if let umask = process.user.umask, umask > 0o777 { error("process.user.umask", "\(umask) is over 511 (octal 777)") }
        // NGROUPS_MAX of linux/limits.h.
        if process.user.additionalGids.count > 65536 { error("process.user.additionalGids", "more than 65536 groups") }
        if let score = process.oomScoreAdj, !(-1000...1000).contains(score) {
            error("process.oomScoreAdj", "\(score) is out of range -1000...1000")
        }
        if let capabilities = process.capabilities { check(capabilities) }
        check(process.rlimits)
        if let scheduler = process.scheduler { check(scheduler) }
        if let priority = process.ioPriority?.priority, !(0...7).contains(priority) {
            error("process.ioPriority.priority", "\(priority) is out of range 0...7")
        }
        if let affinity = process.execCPUAffinity {
            checkCPUList(affinity.initial, at: "process.execCPUAffinity.initial")
            checkCPUList(affinity.final, at: "process.execCPUAffinity.final")
        }
    }

    /// config.md: a capability that does not exist or cannot be granted is a warning. What the kernel
    /// refuses outright, because one set contradicts another (capabilities(7), capset), is an error.
    private mutating func check(_ capabilities: LinuxCapabilities) {
        let sets: [(String, [String])] = [
            ("bounding", capabilities.bounding), ("effective", capabilities.effective), ("inheritable", capabilities.inheritable),
            ("permitted", capabilities.permitted), ("ambient", capabilities.ambient),
        ]
        for (name, set) in sets {
            for (index, capability) in set.enumerated() where !Capability.names.contains(capability) {
                warning("process.capabilities.\(name)[\(index)]", "unknown capability \"\(capability)\" cannot be granted")
            }
        }
        let known = Set(Capability.names)
        func missing(_ set: [String], in other: [String]) -> [String] { set.filter { known.contains($0) && !other.contains($0) } }
        for name in missing(capabilities.effective, in: capabilities.permitted) {
            error("process.capabilities.effective", "\(name) is not in permitted")
        }
        for name in missing(capabilities.inheritable, in: capabilities.bounding) {
            error("process.capabilities.inheritable", "\(name) is not in bounding")
        }
        // `runc spec` writes this very contradiction, and runc lets it pass.
        let lost = Set([capabilities.permitted, capabilities.inheritable].flatMap { missing(capabilities.ambient, in: $0) })
        if !lost.isEmpty {
            let names = lost.sorted().joined(separator: ", ")
            warning("process.capabilities.ambient", "\(names) must be permitted and inheritable to be ambient")
        }
    }

    private mutating func check(_ rlimits: [POSIXRlimit]) {
        for (index, limit) in rlimits.enumerated() {
            if rlimits[..<index].contains(where: { $0.type == limit.type }) {
                error("process.rlimits[\(index)].type", "second \(limit.type.rawValue)")
            }
            if limit.soft > limit.hard { error("process.rlimits[\(index)].soft", "\(limit.soft) is over the hard limit \(limit.hard)") }
        }
    }

    /// sched_setattr(2).
    private mutating func check(_ scheduler: Scheduler) {
        let field = "process.scheduler"
        let policy = scheduler.policy.rawValue
        if let nice = scheduler.nice, !(-20...19).contains(nice) { error("\(field).nice", "\(nice) is out of range -20...19") }
        switch scheduler.policy {
        case .fifo, .rr:
            if !(1...99).contains(scheduler.priority ?? 0) { error("\(field).priority", "\(policy) needs one in 1...99") }
        default:
            if let priority = scheduler.priority, priority != 0 { error("\(field).priority", "only SCHED_FIFO and SCHED_RR have one") }
        }
        let times = [("runtime", scheduler.runtime), ("deadline", scheduler.deadline), ("period", scheduler.period)]
        if scheduler.policy == .deadline {
            let runtime = scheduler.runtime ?? 0
            let deadline = scheduler.deadline ?? 0
            let period = scheduler.period ?? 0
            if runtime == 0 || deadline < runtime || (period != 0 && period < deadline) {
                error(field, "SCHED_DEADLINE needs 0 < runtime <= deadline <= period")
            }
        } else {
            for (name, time) in times where (time ?? 0) != 0 { error("\(field).\(name)", "only SCHED_DEADLINE has one") }
        }
    }

    /// `0-3,7`, as cpuset files and execCPUAffinity have it.
    mutating func checkCPUList(_ list: String, at field: String) {
        if list.isEmpty { return }
        for part in list.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0.filter { $0 != " " }) }
            guard (1...2).contains(ends.count), let first = ends.first ?? nil, let last = ends.last ?? nil, first <= last else {
                error(field, "\"\(list)\" is no list such as 0-3,7")
                return
            }
        }
    }
}
