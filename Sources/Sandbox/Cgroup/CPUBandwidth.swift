import OCI

/// A quota of CPU time and its period, as the spec and later updates have them: either may be changed alone, and is for the other that was.
struct CPUBandwidth: Equatable {
    private(set) var quota: Int64?
    private(set) var period: UInt64?

    init(_ cpu: LinuxCPU?) {
        take(cpu)
    }

    /// Zero is not set, as everywhere in an update.
    mutating func take(_ cpu: LinuxCPU?) {
        if let wanted = cpu?.quota, wanted != 0 { quota = wanted }
        if let wanted = cpu?.period, wanted != 0 { period = wanted }
    }

    /// Adds what an update that changes one of the two leaves as it is.
    func complete(_ cpu: inout LinuxCPU?) {
        guard let wanted = cpu, wanted.quota ?? 0 != 0 || wanted.period ?? 0 != 0 else { return }
        if wanted.quota ?? 0 == 0 { cpu?.quota = quota }
        if wanted.period ?? 0 == 0 { cpu?.period = period }
    }
}
