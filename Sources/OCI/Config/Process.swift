/// The program to run (config.md, Process); also what `exec --process` reads.
public struct Process: Codable, Sendable, Equatable {
    @OmitEmpty public var terminal: Bool
    /// Ignored by the specification unless ``terminal`` is set.
    public var consoleSize: Box?
    public var user: User
    /// As `execvp`'s argv; at least one when the container is started.
    @OmitEmpty public var args: [String]
    /// `NAME=value` strings.
    @OmitEmpty public var env: [String]
    /// Absolute path inside the container.
    public var cwd: String
    public var capabilities: LinuxCapabilities?
    @OmitEmpty public var rlimits: [POSIXRlimit]
    @OmitEmpty public var noNewPrivileges: Bool
    @OmitEmpty public var apparmorProfile: String
    /// -1000...1000.
    public var oomScoreAdj: Int?
    public var scheduler: Scheduler?
    @OmitEmpty public var selinuxLabel: String
    public var ioPriority: LinuxIOPriority?
    public var execCPUAffinity: CPUAffinity?

    public init(args: [String], env: [String] = [], cwd: String = "/", user: User = User()) {
        self.args = args
        self.env = env
        self.cwd = cwd
        self.user = user
    }

    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        _terminal = try fields.decode(OmitEmpty<Bool>.self, forKey: .terminal)
        consoleSize = try fields.decodeIfPresent(Box.self, forKey: .consoleSize)
        // Required by the Go type only, and the schema does without it.
        user = try fields.decodeIfPresent(User.self, forKey: .user) ?? User()
        _args = try fields.decode(OmitEmpty<[String]>.self, forKey: .args)
        _env = try fields.decode(OmitEmpty<[String]>.self, forKey: .env)
        cwd = try fields.decode(String.self, forKey: .cwd)
        capabilities = try fields.decodeIfPresent(LinuxCapabilities.self, forKey: .capabilities)
        _rlimits = try fields.decode(OmitEmpty<[POSIXRlimit]>.self, forKey: .rlimits)
        _noNewPrivileges = try fields.decode(OmitEmpty<Bool>.self, forKey: .noNewPrivileges)
        _apparmorProfile = try fields.decode(OmitEmpty<String>.self, forKey: .apparmorProfile)
        oomScoreAdj = try fields.decodeIfPresent(Int.self, forKey: .oomScoreAdj)
        scheduler = try fields.decodeIfPresent(Scheduler.self, forKey: .scheduler)
        _selinuxLabel = try fields.decode(OmitEmpty<String>.self, forKey: .selinuxLabel)
        ioPriority = try fields.decodeIfPresent(LinuxIOPriority.self, forKey: .ioPriority)
        execCPUAffinity = try fields.decodeIfPresent(CPUAffinity.self, forKey: .execCPUAffinity)
    }
}

/// A console's size in characters.
public struct Box: Codable, Sendable, Equatable {
    public var height: UInt32
    public var width: UInt32

    public init(height: UInt32, width: UInt32) {
        self.height = height
        self.width = width
    }
}

public struct User: Codable, Sendable, Equatable {
    public var uid: UInt32 = 0
    public var gid: UInt32 = 0
    /// File mode bits, 0...0o777.
    public var umask: UInt32?
    @OmitEmpty public var additionalGids: [UInt32]

    public init(uid: UInt32 = 0, gid: UInt32 = 0, umask: UInt32? = nil, additionalGids: [UInt32] = []) {
        self.uid = uid
        self.gid = gid
        self.umask = umask
        self.additionalGids = additionalGids
    }

    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        uid = try fields.decodeIfPresent(UInt32.self, forKey: .uid) ?? 0
        gid = try fields.decodeIfPresent(UInt32.self, forKey: .gid) ?? 0
        umask = try fields.decodeIfPresent(UInt32.self, forKey: .umask)
        _additionalGids = try fields.decode(OmitEmpty<[UInt32]>.self, forKey: .additionalGids)
    }
}

/// Names as in capabilities(7), `CAP_CHOWN`. A name that cannot be granted is a warning, not an error
/// (config.md: "MUST be logged as a warning … SHOULD NOT fail"), so these stay strings.
public struct LinuxCapabilities: Codable, Sendable, Equatable {
    @OmitEmpty public var bounding: [String]
    @OmitEmpty public var effective: [String]
    @OmitEmpty public var inheritable: [String]
    @OmitEmpty public var permitted: [String]
    @OmitEmpty public var ambient: [String]

    public init(
        bounding: [String] = [], effective: [String] = [], inheritable: [String] = [], permitted: [String] = [], ambient: [String] = []
    ) {
        self.bounding = bounding
        self.effective = effective
        self.inheritable = inheritable
        self.permitted = permitted
        self.ambient = ambient
    }
}

/// A limit of getrlimit(2).
public struct POSIXRlimit: Codable, Sendable, Equatable {
    public var type: RlimitType
    /// `UInt64.max` is RLIM_INFINITY.
    public var hard: UInt64
    public var soft: UInt64

    public init(type: RlimitType, hard: UInt64, soft: UInt64) {
        self.type = type
        self.hard = hard
        self.soft = soft
    }
}

/// The limits Linux has (asm-generic/resource.h).
public enum RlimitType: String, Keyword {
    case cpu = "RLIMIT_CPU"
    case fsize = "RLIMIT_FSIZE"
    case data = "RLIMIT_DATA"
    case stack = "RLIMIT_STACK"
    case core = "RLIMIT_CORE"
    case rss = "RLIMIT_RSS"
    case nproc = "RLIMIT_NPROC"
    case nofile = "RLIMIT_NOFILE"
    case memlock = "RLIMIT_MEMLOCK"
    case `as` = "RLIMIT_AS"
    case locks = "RLIMIT_LOCKS"
    case sigpending = "RLIMIT_SIGPENDING"
    case msgqueue = "RLIMIT_MSGQUEUE"
    case nice = "RLIMIT_NICE"
    case rtprio = "RLIMIT_RTPRIO"
    case rttime = "RLIMIT_RTTIME"
}

/// Arguments of sched_setattr(2).
public struct Scheduler: Codable, Sendable, Equatable {
    public var policy: SchedulerPolicy
    /// -20...19, for `SCHED_OTHER` and `SCHED_BATCH`.
    public var nice: Int32?
    /// 1...99, for `SCHED_FIFO` and `SCHED_RR`.
    public var priority: Int32?
    @OmitEmpty public var flags: [SchedulerFlag]
    /// Nanoseconds; these three are for `SCHED_DEADLINE`.
    public var runtime: UInt64?
    public var deadline: UInt64?
    public var period: UInt64?

    public init(policy: SchedulerPolicy) {
        self.policy = policy
    }
}

public enum SchedulerPolicy: String, Keyword {
    case other = "SCHED_OTHER"
    case fifo = "SCHED_FIFO"
    case rr = "SCHED_RR"
    case batch = "SCHED_BATCH"
    case iso = "SCHED_ISO"
    case idle = "SCHED_IDLE"
    case deadline = "SCHED_DEADLINE"
}

public enum SchedulerFlag: String, Keyword {
    case resetOnFork = "SCHED_FLAG_RESET_ON_FORK"
    case reclaim = "SCHED_FLAG_RECLAIM"
    case deadlineOverrun = "SCHED_FLAG_DL_OVERRUN"
    case keepPolicy = "SCHED_FLAG_KEEP_POLICY"
    case keepParams = "SCHED_FLAG_KEEP_PARAMS"
    case utilClampMin = "SCHED_FLAG_UTIL_CLAMP_MIN"
    case utilClampMax = "SCHED_FLAG_UTIL_CLAMP_MAX"
}

/// Arguments of ioprio_set(2).
public struct LinuxIOPriority: Codable, Sendable, Equatable {
    public var `class`: IOPriorityClass
    /// 0 (highest) to 7.
    public var priority: Int?

    public init(class: IOPriorityClass, priority: Int? = nil) {
        self.class = `class`
        self.priority = priority
    }
}

public enum IOPriorityClass: String, Keyword {
    case realtime = "IOPRIO_CLASS_RT"
    case bestEffort = "IOPRIO_CLASS_BE"
    case idle = "IOPRIO_CLASS_IDLE"
}

/// CPU lists, `"0-3,7"`: while an exec's runtime part runs, and once the program is started.
public struct CPUAffinity: Codable, Sendable, Equatable {
    @OmitEmpty public var initial: String
    @OmitEmpty public var final: String

    public init(initial: String = "", final: String = "") {
        self.initial = initial
        self.final = final
    }
}
