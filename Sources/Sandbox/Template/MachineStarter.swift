import Linux
import Logging

/// Gives a sandbox its machine: from a template if it can, by a boot otherwise.
///
/// Nothing about a template can keep a sandbox from starting.
struct MachineStarter {
    /// Nanoseconds; beginning to read what is cached already takes less, and no stage of its own in the ledger.
    private static let shortPrefetch: UInt64 = 1_000_000

    let place: MachinePlace
    let loop: EventLoop
    let options: SandboxMachine.Options
    let build: String
    /// The guest's host name.
    let name: String
    let log: Logger
    /// Machines that wait for such a container.
    var pool: MachinePool?
    /// Begins a stage of the ledger, at a moment of the monotonic clock or now.
    let mark: (String, UInt64?) -> Void
    let report: (Templates.Progress) -> Void
    /// Gets the machine that is being worked on, so that it can be ended. Throws if nothing is to be started any more.
    let use: (SandboxMachine?) throws -> Void

    /// Starts the machine and waits for its agent.
    func start(_ plan: Plan) throws -> SandboxMachine {
        guard !options.isCold else { return try start(plan, from: nil) }
        if let machine = try takeWaiting(plan) { return machine }
        guard let template = try template(plan.size) else { return try start(plan, from: nil) }
        let key = template.key
        let began = monotonicNanoseconds()
        let workingSet = WorkingSet.prefetch(from: template.snapshot).map { WorkingSet.Use.follow($0) } ?? .record
        if monotonicNanoseconds() - began > Self.shortPrefetch { mark("prefetch", began) }
        var machine: SandboxMachine?
        do {
            return try start(template.size, plan.shares, from: template.snapshot, workingSet: workingSet, extraMemory: template.extraMemory) { machine = $0 }
        } catch where isTemplatesFault(error, machine) {
            log.warning("template \(key) is of no use: \(error); booting instead")
            machine?.kill()
            place.removeSockets()
            let booted = try start(plan, from: nil)
            // Only now: what keeps a machine from booting too is not the template's fault.
            try? template.templates.store.remove(key)
            return booted
        }
    }

    /// A machine of the pool, if one waits that is of use.
    private func takeWaiting(_ plan: Plan) throws -> SandboxMachine? {
        let began = monotonicNanoseconds()
        guard let pool, let taken = pool.take(to: place) else { return nil }
        mark("pool", began)
        let machine = SandboxMachine(place, on: loop)
        try use(machine)
        do {
            try PoolCgroup.bring(taken.pid)
            try machine.takeOver(taken, plan.size, plan.shares, options.shareCache, name: name)
            return machine
        } catch where error is SystemError || isTemplatesFault(error, machine) {
            log.warning("a machine of the pool is of no use: \(error); starting another")
            machine.kill()
            place.removeSockets()
            return nil
        }
    }

    private func start(_ plan: Plan, from snapshot: Descriptor?) throws -> SandboxMachine {
        try start(plan.size, plan.shares, from: snapshot)
    }

    /// Starts the machine from a snapshot, or by a boot, and waits for its agent.
    func start(
        _ size: MachineSize, _ shares: [Plan.Share], from snapshot: Descriptor?, workingSet: WorkingSet.Use? = nil, base: Descriptor? = nil, extraMemory: Int = 0,
        _ made: (SandboxMachine) -> Void = { _ in }
    ) throws -> SandboxMachine {
        mark("spawn", nil)
        let machine = SandboxMachine(place, on: loop)
        made(machine)
        try use(machine)
        try machine.launch(size, shares, options, restoring: snapshot, workingSet: workingSet, base: base, extraMemory: extraMemory) { [mark] times in
            mark("jail", times.began)
            mark(snapshot == nil ? "load" : "restore", times.jailed)
            mark("vCPUs", times.loaded)
            mark(snapshot == nil ? "kernel" : "resume", times.started)
        }
        let answer = try machine.waitForAgent(build: build, name: name) { if snapshot != nil { mark("renew", nil) } }
        if extraMemory > 0 {
            mark("memory", nil)
            try machine.waitForMemory()
        }
        guard snapshot == nil else { return machine }
        // The guest's clock is its own, and its answer hostile: only a length is taken, and the ledger bounds it.
        let agent = answer.readyAtNs >= answer.startedAtNs ? answer.readyAtNs - answer.startedAtNs : 0
        let now = monotonicNanoseconds()
        mark("agent", now - min(agent, now))
        return machine
    }

    private struct Found {
        let templates: Templates
        let key: TemplateKey
        let snapshot: Descriptor
        /// The memory is the template's.
        let size: MachineSize
        /// What the template lacks of the memory wanted.
        let extraMemory: Int
    }

    /// The template of this size or one that can grow to it, made now if there is none; nil if it is not to be had.
    private func template(_ size: MachineSize) throws -> Found? {
        // What is missing of these is missing for a boot too.
        _ = try Installation(vmm: options.vmm, kernel: options.kernel, image: options.image).open()
        do {
            let templates = try Templates(options, build: build)
            func find(_ first: MachineSize, _ extraMemory: Int) throws -> Found? {
                let key = try templates.key(first)
                guard let snapshot = templates.store.find(key) else { return nil }
                let size = try MachineSize(cpus: size.cpus, memory: first.memory, softwareKVM: false)
                return Found(templates: templates, key: key, snapshot: snapshot, size: size, extraMemory: extraMemory)
            }
            if let found = try find(size, 0) { return found }
            let (first, extraMemory) = size.template(softwareKVM: options.softwareKVM) ?? (size, 0)
            if first != size, let found = try find(first, extraMemory) { return found }
            mark("template", nil)
            guard try templates.make(first, on: loop, use: use, report) != nil else { return nil }
            return try find(first, extraMemory)
        } catch let error as SandboxError where error.kind != .refused {
            // The machine itself did not come up.
            throw error
        } catch {
            log.warning("no template can be made: \(error); booting instead")
            return nil
        }
    }

    /// Whether a machine that was to be restored ended, or never answered; not what the sandbox itself lacks, or a signal.
    private func isTemplatesFault(_ error: any Error, _ machine: SandboxMachine?) -> Bool {
        guard let machine, let error = error as? SandboxError else { return false }
        switch error.kind {
        case .timedOut, .agentLost, .refused: return true
        default: return machine.end != nil
        }
    }
}
