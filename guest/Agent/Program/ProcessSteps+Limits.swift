import CLinux
import Glibc
import Linux
import OCI

/// What a process may use, and when it runs.
extension ProcessSteps {
    func setLimits(_ program: inout SystemCallProgram, _ control: Int32) {
        program.stage("process.rlimits")
        if stopsForLimits { return program.stop(at: .limits, control: control) }
        for limit in process.rlimits {
            program.call(SYS_prlimit64, 0, .literal(limit.type.number), program.words([limit.soft, limit.hard]), 0)
        }
    }

    func schedule(_ program: inout SystemCallProgram) {
        if let personality {
            program.stage("linux.personality")
            program.call(SYS_personality, .literal(personality))
        }
        if let scheduler = process.scheduler {
            program.stage("process.scheduler")
            program.call(SYS_sched_setattr, 0, program.words(Self.attributes(of: scheduler)), 0)
        }
        if let priority = process.ioPriority {
            program.stage("process.ioPriority")
            // IOPRIO_WHO_PROCESS; the class in the upper three bits of sixteen.
            let value = priority.class.number << 13 | Int32(truncatingIfNeeded: priority.priority ?? 0)
            program.call(SYS_ioprio_set, 1, 0, .literal(value))
        }
    }

    /// Sets the CPUs of an exec: `initial` while it enters the container, `final` for the program.
    static func setAffinity(_ list: String, _ program: inout SystemCallProgram) {
        guard let mask = cpuMask(list) else { return }
        program.stage("process.execCPUAffinity")
        program.call(SYS_sched_setaffinity, 0, .literal(Int32(truncatingIfNeeded: mask.count)), program.bytes(mask))
    }

    /// The bits of a list such as `0-3,7`; nil if it is empty or no list.
    static func cpuMask(_ list: String) -> [UInt8]? {
        var mask = [UInt8](repeating: 0, count: 128)
        for part in list.split(separator: ",") {
            let ends = part.split(separator: "-").map { Int($0.filter { $0 != " " }) }
            guard let first = ends.first ?? nil, let last = ends.last ?? nil, first <= last, last < 8 * mask.count, first >= 0 else { return nil }
            for cpu in first...last { mask[cpu / 8] |= 1 << (cpu % 8) }
        }
        return mask.allSatisfy { $0 == 0 } ? nil : mask
    }

    /// `struct sched_attr` of sched_setattr(2), 48 bytes.
    private static func attributes(of scheduler: Scheduler) -> [UInt64] {
        let flags = scheduler.flags.reduce(0) { $0 | $1.bit }
        let nice = UInt64(UInt32(bitPattern: scheduler.nice ?? 0))
        let priority = UInt64(UInt32(bitPattern: scheduler.priority ?? 0))
        return [
            48 | scheduler.policy.number << 32, flags, nice | priority << 32,
            scheduler.runtime ?? 0, scheduler.deadline ?? 0, scheduler.period ?? 0,
        ]
    }
}

extension RlimitType {
    /// asm-generic/resource.h
    var number: Int32 {
        switch self {
        case .cpu: 0
        case .fsize: 1
        case .data: 2
        case .stack: 3
        case .core: 4
        case .rss: 5
        case .nproc: 6
        case .nofile: 7
        case .memlock: 8
        case .as: 9
        case .locks: 10
        case .sigpending: 11
        case .msgqueue: 12
        case .nice: 13
        case .rtprio: 14
        case .rttime: 15
        }
    }
}

extension SchedulerPolicy {
    /// linux/sched.h
    fileprivate var number: UInt64 {
        switch self {
        case .other: 0
        case .fifo: 1
        case .rr: 2
        case .batch: 3
        case .iso: 4
        case .idle: 5
        case .deadline: 6
        }
    }
}

extension SchedulerFlag {
    fileprivate var bit: UInt64 {
        switch self {
        case .resetOnFork: 0x01
        case .reclaim: 0x02
        case .deadlineOverrun: 0x04
        case .keepPolicy: 0x08
        case .keepParams: 0x10
        case .utilClampMin: 0x20
        case .utilClampMax: 0x40
        }
    }
}

extension IOPriorityClass {
    /// linux/ioprio.h
    fileprivate var number: Int32 {
        switch self {
        case .realtime: 1
        case .bestEffort: 2
        case .idle: 3
        }
    }
}

extension ProcessSteps {
    /// The steps of `process`, in a container of `spec`.
    init(process: Process, in spec: Spec, home: String?) throws {
        self.init(process: process)
        self.home = home
        let hasUserNamespace = spec.linux?.namespaces.contains { $0.type == .user } ?? false
        stopsForLimits = (hasUserNamespace && !process.rlimits.isEmpty) || (process.oomScoreAdj ?? 0) != 0
        // PER_LINUX, PER_LINUX32 (linux/personality.h).
        personality = spec.linux?.personality.map { $0.domain == .linux32 ? 8 : 0 }
    }

    /// Whether the child must not share the agent's memory: the kernel keeps `oom_score_adj` equal among all who do.
    static func needsOwnMemory(_ process: Process) -> Bool { (process.oomScoreAdj ?? 0) != 0 }

    /// What the agent sets for a child that stopped for it.
    static func setLimits(_ process: Process, of pid: Int32) throws(SystemError) {
        for limit in process.rlimits { try Linux.setLimit(limit.type.number, soft: limit.soft, hard: limit.hard, of: pid) }
        if let score = process.oomScoreAdj, score != 0 {
            _ = try Descriptor.open("/proc/\(pid)/oom_score_adj", O_WRONLY).write(Array("\(score)".utf8))
        }
    }
}
