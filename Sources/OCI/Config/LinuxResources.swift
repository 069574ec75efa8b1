/// Limits set through cgroups (config-linux.md, Control groups); also what `update --resources` reads.
public struct LinuxResources: Codable, Sendable, Equatable {
    /// Applied in this order.
    @OmitEmpty public var devices: [LinuxDeviceCgroup]
    public var memory: LinuxMemory?
    public var cpu: LinuxCPU?
    public var pids: LinuxPids?
    public var blockIO: LinuxBlockIO?
    @OmitEmpty public var hugepageLimits: [LinuxHugepageLimit]
    public var network: LinuxNetwork?
    @OmitEmpty public var rdma: [String: LinuxRdma]
    /// Cgroup v2 files and what to write to them.
    @OmitEmpty public var unified: [String: String]

    public init() {}
}

/// A rule of the device controller.
public struct LinuxDeviceCgroup: Codable, Sendable, Equatable {
    public var allow: Bool
    public var type: LinuxDeviceCgroupType?
    /// `nil`: every number. runc and podman also write -1 for that.
    public var major: Int64?
    public var minor: Int64?
    /// Letters of "rwm", and others that mean nothing, as with runc and crun; empty: all of them.
    @OmitEmpty public var access: String

    public init(allow: Bool, type: LinuxDeviceCgroupType? = nil, major: Int64? = nil, minor: Int64? = nil, access: String = "") {
        self.allow = allow
        self.type = type
        self.major = major
        self.minor = minor
        self.access = access
    }
}

public enum LinuxDeviceCgroupType: String, Keyword {
    case all = "a"
    case character = "c"
    case block = "b"
}

/// Bytes, -1: no limit.
public struct LinuxMemory: Codable, Sendable, Equatable {
    public var limit: Int64?
    /// Best effort (`memory.low`).
    public var reservation: Int64?
    /// Memory and swap together.
    public var swap: Int64?
    public var kernel: Int64?
    public var kernelTCP: Int64?
    /// 0...100.
    public var swappiness: UInt64?
    public var disableOOMKiller: Bool?
    public var useHierarchy: Bool?
    public var checkBeforeUpdate: Bool?

    public init() {}
}

public struct LinuxCPU: Codable, Sendable, Equatable {
    /// Relative weight as in cgroup v1, 2...262144.
    public var shares: UInt64?
    /// Microseconds of run time in each ``period``; -1: no limit.
    public var quota: Int64?
    /// Microseconds.
    public var burst: UInt64?
    /// Microseconds, 1000...1000000.
    public var period: UInt64?
    public var realtimeRuntime: Int64?
    public var realtimePeriod: UInt64?
    /// CPU list, `"0-3,7"`.
    @OmitEmpty public var cpus: String
    /// Memory node list.
    @OmitEmpty public var mems: String
    /// 1: SCHED_IDLE.
    public var idle: Int64?

    public init() {}
}

public struct LinuxPids: Codable, Sendable, Equatable {
    /// Tasks, -1: no limit.
    public var limit: Int64?

    public init(limit: Int64? = nil) {
        self.limit = limit
    }
}

public struct LinuxBlockIO: Codable, Sendable, Equatable {
    /// 10...1000.
    public var weight: UInt16?
    public var leafWeight: UInt16?
    @OmitEmpty public var weightDevice: [LinuxWeightDevice]
    @OmitEmpty public var throttleReadBpsDevice: [LinuxThrottleDevice]
    @OmitEmpty public var throttleWriteBpsDevice: [LinuxThrottleDevice]
    @OmitEmpty public var throttleReadIOPSDevice: [LinuxThrottleDevice]
    @OmitEmpty public var throttleWriteIOPSDevice: [LinuxThrottleDevice]

    public init() {}
}

public struct LinuxWeightDevice: Codable, Sendable, Equatable {
    public var major: Int64
    public var minor: Int64
    public var weight: UInt16?
    public var leafWeight: UInt16?

    public init(major: Int64, minor: Int64, weight: UInt16? = nil, leafWeight: UInt16? = nil) {
        self.major = major
        self.minor = minor
        self.weight = weight
        self.leafWeight = leafWeight
    }
}

public struct LinuxThrottleDevice: Codable, Sendable, Equatable {
    public var major: Int64
    public var minor: Int64
    /// Bytes or operations a second.
    public var rate: UInt64

    public init(major: Int64, minor: Int64, rate: UInt64) {
        self.major = major
        self.minor = minor
        self.rate = rate
    }
}

public struct LinuxHugepageLimit: Codable, Sendable, Equatable {
    /// `"64KB"`, `"2MB"`, `"1GB"`.
    public var pageSize: String
    /// Bytes.
    public var limit: UInt64

    public init(pageSize: String, limit: UInt64) {
        self.pageSize = pageSize
        self.limit = limit
    }
}

public struct LinuxNetwork: Codable, Sendable, Equatable {
    public var classID: UInt32?
    @OmitEmpty public var priorities: [LinuxInterfacePriority]

    public init() {}
}

public struct LinuxInterfacePriority: Codable, Sendable, Equatable {
    public var name: String
    public var priority: UInt32

    public init(name: String, priority: UInt32) {
        self.name = name
        self.priority = priority
    }
}

public struct LinuxRdma: Codable, Sendable, Equatable {
    public var hcaHandles: UInt32?
    public var hcaObjects: UInt32?

    public init() {}
}
