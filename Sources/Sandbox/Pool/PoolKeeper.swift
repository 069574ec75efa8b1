import Glibc
public import Linux

/// The process that keeps one machine of the pool: makes it from its template, gives it to the first who asks, and sees to its end.
///
/// It stays the VMM's parent for good. When either the keeper or the monitor that took the machine ends, however that comes, the
/// machine does: the kernel ends it with its parent, and the keeper with its monitor.
public final class PoolKeeper {
    static let takeRequest = "take"
    static let endRequest = "end"
    /// What comes first: the start that found the pool empty or took from it, and its container's first moments.
    private static let delay: UInt32 = 1_000_000
    /// How often it is looked whether the machine is of use still.
    private static let interval: UInt64 = 10_000_000_000
    private static let requestDeadline: UInt64 = 1_000_000_000

    private let pool: MachinePool
    private let build: String
    private let loop: EventLoop
    private var isOver = false
    /// Who took the machine, and the VMM's process.
    private var taken: (by: Descriptor, child: ChildProcess)?

    public init(_ pool: MachinePool, build: String) throws(SystemError) {
        self.pool = pool
        self.build = build
        loop = try EventLoop()
    }

    /// Keeps one machine, unless enough wait; returns at its end.
    ///
    /// - Parameter isLate: a start is under way, which goes first.
    public func run(isLate: Bool) throws {
        ignoreBrokenPipes()
        try changeDirectory(to: "/")
        PoolCgroup.enter()
        defer { PoolCgroup.leave() }
        guard let (entry, alive) = try pool.begin() else { return }
        defer { withExtendedLifetime(alive) {} }
        do {
            if isLate { usleep(Self.delay) }
            let machine = SandboxMachine(try MachinePlace(entry.directory), on: loop)
            defer {
                machine.kill()
                // Given away, it has the taker's name already.
                pool.remove(entry)
            }
            try make(machine)
            try keep(machine, entry)
        } catch {
            pool.note(error)
            throw error
        }
        if let taken { try guardMachine(taken.child, of: taken.by) }
    }

    private func make(_ machine: SandboxMachine) throws {
        guard !MemoryPressure.isHigh() else { throw SandboxError(.refused, "this host is short of memory") }
        let size = try MachinePool.size(pool.options)
        let templates = try Templates(pool.options, build: build)
        guard let snapshot = try templates.store.find(templates.key(size)) else { throw SandboxError(.refused, "there is no template yet") }
        let workingSet = WorkingSet.prefetch(from: snapshot).map { WorkingSet.Use.follow($0) }
        try machine.launch(size, [], pool.options, restoring: snapshot, workingSet: workingSet)
        try machine.waitForAgent(build: build)
    }

    private func keep(_ machine: SandboxMachine, _ entry: MachinePool.Entry) throws {
        let listener = try Descriptor.listening(at: .unix(entry.socketPath))
        try loop.add(listener, .readable) { [weak self] _ in self?.answer(listener, machine, entry) }
        defer { loop.remove(listener) }
        let pressure = MemoryPressure(on: loop) { [weak self] in self?.isOver = true }
        defer { withExtendedLifetime(pressure) {} }
        look()
        if pool.own().count < pool.target { try pool.startKeeper(isLate: false, on: loop) }
        while !isOver {
            try loop.runOnce()
            if let failure = machine.waiter.failure { throw failure }
        }
    }

    private func look() {
        if MemoryPressure.isHigh() || !pool.isCurrent(build: build) { isOver = true }
        loop.schedule(afterNanoseconds: Self.interval) { [weak self] in self?.look() }
    }

    private func answer(_ listener: Descriptor, _ machine: SandboxMachine, _ entry: MachinePool.Entry) {
        guard let socket = try? listener.accept(), (try? socket.waitReadable(atMost: Self.requestDeadline)) == true,
            let (bytes, descriptors) = try? socket.receive(limit: 16)
        else { return }
        switch (String(decoding: bytes, as: UTF8.self), descriptors.count) {
        case (Self.endRequest, 0): isOver = true
        case (Self.takeRequest, 2):
            // Who has given up waiting would get the files of a machine that it knows nothing of.
            guard !socket.isReady(for: .readable) else { return }
            isOver = true
            guard let (handed, child) = machine.handOver() else { return }
            taken = (descriptors[1], child)
            do throws(SystemError) {
                for name in [MachinePlace.socketsName, SandboxMachine.consoleName] { try entry.directory.move(name, to: descriptors[0]) }
                try handed.send(to: socket)
            } catch {
                child.kill()
            }
        default: break
        }
    }

    /// Returns when the machine has ended.
    private func guardMachine(_ child: ChildProcess, of monitor: Descriptor) throws {
        var isRunning = true
        try loop.add(child.pidfd, .readable) { _ in isRunning = false }
        try loop.add(monitor, .readable) { [loop] _ in
            loop.remove(monitor)
            child.kill()
        }
        _ = try? pool.startKeeper(isLate: true, on: loop)
        while isRunning { try loop.runOnce() }
        child.reap()
    }
}
