/// A container's use of resources as runc prints it, from the guest's cgroup v2.
struct ContainerStats: Encodable {
    struct CPU: Encodable {
        struct Usage: Encodable {
            /// Nanoseconds.
            let total: UInt64
            let percpu: [UInt64]
            let kernel: UInt64
            let user: UInt64
        }
        struct Throttling: Encodable {
            let periods: UInt64
            let throttledPeriods: UInt64
            let throttledTime: UInt64
        }
        let usage: Usage
        let throttling: Throttling
    }

    struct Memory: Encodable {
        struct Usage: Encodable {
            let limit: UInt64
            let usage: UInt64
            let max: UInt64
            let failcnt: UInt64
        }
        let cache: UInt64
        let usage: Usage
        let swap: Usage
        let kernel: Usage
        let kernelTCP: Usage
        /// The lines of memory.stat.
        let raw: [String: UInt64]
    }

    struct PIDs: Encodable {
        let current: UInt64
        let limit: UInt64
    }

    struct Nothing: Encodable {}

    let cpu: CPU
    let memory: Memory
    let pids: PIDs
    let blkio = Nothing()
    let hugetlb = Nothing()

    /// - Parameter values: by file and key, `memory.stat/anon`.
    init(_ values: [String: UInt64]) {
        func value(_ name: String) -> UInt64 { values[name] ?? 0 }
        func nanoseconds(_ name: String) -> UInt64 { value(name).multipliedReportingOverflow(by: 1000).partialValue }
        cpu = CPU(
            usage: CPU.Usage(
                total: nanoseconds("cpu.stat/usage_usec"), percpu: [], kernel: nanoseconds("cpu.stat/system_usec"),
                user: nanoseconds("cpu.stat/user_usec")),
            throttling: CPU.Throttling(
                periods: value("cpu.stat/nr_periods"), throttledPeriods: value("cpu.stat/nr_throttled"),
                throttledTime: nanoseconds("cpu.stat/throttled_usec")))
        var raw: [String: UInt64] = [:]
        for (name, value) in values where name.hasPrefix("memory.stat/") { raw[String(name.dropFirst("memory.stat/".count))] = value }
        let none = Memory.Usage(limit: 0, usage: 0, max: 0, failcnt: 0)
        memory = Memory(
            cache: value("memory.stat/file"),
            usage: Memory.Usage(
                limit: values["memory.max"] ?? .max, usage: value("memory.current"), max: value("memory.peak"), failcnt: value("memory.events/max")),
            swap: none, kernel: none, kernelTCP: none, raw: raw)
        pids = PIDs(current: value("pids.current"), limit: value("pids.max"))
    }
}
