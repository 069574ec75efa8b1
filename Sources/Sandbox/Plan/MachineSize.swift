import OCI

/// How many CPUs and how much memory a sandbox's machine has.
///
/// In this order: the operator's flag, the spec's `vm.hwConfig`, what the container's own limits need, the default.
public struct MachineSize: Sendable, Equatable {
    public static let cpuRange = 1...16
    public static let memoryRange = (32 << 20)...(1 << 40)
    /// Less where KVM interprets the guest's kernel, which spends a second on each 128 MiB before it does anything else.
    static func defaultMemory(_ softwareKVM: Bool) -> Int { softwareKVM ? 128 << 20 : 256 << 20 }
    /// What the guest's kernel and agent take beside a container that uses all of its limit.
    static let guestOverhead = 64 << 20
    private static let granule = 2 << 20

    public let cpus: Int
    /// Bytes, a multiple of 2 MiB.
    public let memory: Int

    /// The size without a container's wishes.
    ///
    /// - Throws: for what is out of range. Memory is rounded up.
    public init(cpus: Int?, memory: Int?, softwareKVM: Bool) throws(SandboxError) {
        self.cpus = try Self.checked("--cpus", cpus ?? 1, Self.cpuRange)
        self.memory = Self.rounded(try Self.checked("--memory", memory ?? Self.defaultMemory(softwareKVM), Self.memoryRange))
    }

    public init(_ spec: Spec, cpus: Int?, memory: Int?, softwareKVM: Bool) throws(SandboxError) {
        let hardware = spec.vm?.hwConfig
        if let cpus {
            self.cpus = try Self.checked("--cpus", cpus, Self.cpuRange)
        } else if let vcpus = hardware?.vcpus {
            self.cpus = try Self.checked("vm.hwConfig.vcpus", Int(vcpus), Self.cpuRange)
        } else {
            self.cpus = Self.cpusNeeded(spec.linux?.resources?.cpu)
        }
        let bytes: Int
        if let memory {
            bytes = try Self.checked("--memory", memory, Self.memoryRange)
        } else if let memory = hardware?.memory {
            bytes = try Self.checked("vm.hwConfig.memory", Int(clamping: memory), Self.memoryRange)
        } else {
            bytes = Self.memoryNeeded(spec.linux?.resources?.memory, default: Self.defaultMemory(softwareKVM))
        }
        self.memory = Self.rounded(bytes)
    }

    /// What a machine of this size can grow from when it goes on from a template: one CPU, the default memory or less. Nil: from nothing but
    /// its own.
    ///
    /// Where KVM interprets the guest's kernel each 128 MiB and each CPU would take it over a second: a template of the size is better there.
    func template(softwareKVM: Bool?) -> (size: MachineSize, extraMemory: Int)? {
        let first = min(memory, Self.defaultMemory(false))
        guard softwareKVM == false, memory - first <= Self.extraMemoryLimit, cpus > 1 || memory > first else { return nil }
        guard let size = try? MachineSize(cpus: 1, memory: first, softwareKVM: false) else { return nil }
        return (size, memory - first)
    }

    /// As many CPUs as a machine can grow to from a template of this size; see ``template(softwareKVM:)``.
    func possibleCPUs(softwareKVM: Bool?) -> Int? { softwareKVM == false ? Self.cpuRange.upperBound : nil }

    /// Of `microvm-vmm`.
    private static let extraMemoryLimit = 64 << 30

    private static func rounded(_ bytes: Int) -> Int { (bytes + granule - 1) / granule * granule }

    /// Enough to use all of the quota at once, or every CPU it may run on.
    private static func cpusNeeded(_ cpu: LinuxCPU?) -> Int {
        guard let quota = cpu?.quota, quota > 0 else { return min(max(1, count(cpu?.cpus ?? "")), cpuRange.upperBound) }
        let period = Int64(clamping: cpu?.period.flatMap { $0 == 0 ? nil : $0 } ?? 100_000)
        return min(Int(clamping: (quota - 1) / period) + 1, cpuRange.upperBound)
    }

    /// CPUs in a list, `0-3,7`.
    private static func count(_ list: String) -> Int {
        list.split(separator: ",").reduce(0) { sum, part in
            let ends = part.split(separator: "-").compactMap { Int($0) }
            guard let first = ends.first, let last = ends.last, (0...4096).contains(first), (first...max(first, 4096)).contains(last) else { return sum }
            return sum + last - first + 1
        }
    }

    /// Room for the container's limit beside the guest itself. Memory that is not used costs the host nothing.
    private static func memoryNeeded(_ memory: LinuxMemory?, default defaultMemory: Int) -> Int {
        guard let limit = memory?.limit, limit > 0 else { return defaultMemory }
        let limitAndGuest = Int(limit).addingReportingOverflow(guestOverhead)
        return min(max(defaultMemory, limitAndGuest.overflow ? .max : limitAndGuest.partialValue), memoryRange.upperBound)
    }

    private static func checked(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws(SandboxError) -> Int {
        guard range.contains(value) else {
            throw SandboxError(.badInput, "\(name): \(value) is not between \(range.lowerBound) and \(range.upperBound)")
        }
        return value
    }
}
