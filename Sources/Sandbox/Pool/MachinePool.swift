import Glibc
public import Linux

/// Machines that have been restored and wait for a container, each kept by a process of its own (``PoolKeeper``) in a
/// directory of its own, `<root>/.pool/KEY.PID`.
///
/// There is no daemon: a start that finds the pool empty starts a keeper, a keeper whose machine was taken the next one, and
/// keepers go on until the pool is full.
public struct MachinePool {
    public static let directoryName = ".pool"
    private static let lockName = ".lock"
    private static let failureName = ".failure"
    private static let aliveName = "alive"
    static let socketName = "keeper.sock"
    /// How long a keeper may take to hand its machine over.
    private static let patience: UInt64 = 5_000_000_000

    /// One machine, or one being made.
    public struct Entry: Sendable {
        public let keeper: Int32
        /// It can be taken.
        public let isReady: Bool
        let name: String
        let directory: Descriptor

        /// Its keeper lives.
        fileprivate var isAlive: Bool { (try? Descriptor.open(MachinePool.aliveName, O_RDWR, at: directory).isLocked(byte: 0)) == true }
        var socketPath: String { "/proc/self/fd/\(directory.raw)/\(MachinePool.socketName)" }
    }

    public let target: Int
    /// Of machines that are as good as each other for whoever asks.
    private let key: String
    private let root: StateRoot
    private let directory: Descriptor
    let options: SandboxMachine.Options

    /// - Parameter target: how many machines shall wait.
    public init(_ root: StateRoot, target: Int, _ options: SandboxMachine.Options, build: String) throws {
        self.root = root
        self.target = target
        self.options = options
        directory = try root.makeDirectory(Self.directoryName)
        key = try Self.key(options, build)
    }

    /// The pool for a container's machine; nil: none keeps such a one. Only machines that nothing particular is asked of wait.
    init?(for launch: Launch, _ size: MachineSize, in root: StateRoot, build: String) {
        var usual = SandboxMachine.Options()
        (usual.softwareKVM, usual.templates, usual.shareCache) = (launch.machine.softwareKVM, launch.machine.templates, launch.machine.shareCache)
        guard launch.pool > 0, launch.machine == usual, size == (try? Self.size(usual)) else { return nil }
        guard let pool = try? MachinePool(root, target: launch.pool, usual, build: build) else { return nil }
        self = pool
    }

    static func size(_ options: SandboxMachine.Options) throws(SandboxError) -> MachineSize {
        try MachineSize(cpus: nil, memory: nil, softwareKVM: options.softwareKVM ?? false)
    }

    /// What a machine is made of, and whose rights its VMM has.
    private static func key(_ options: SandboxMachine.Options, _ build: String) throws -> String {
        let template = try Templates(options, build: build).key(size(options))
        let status = String(decoding: try Descriptor.open("/proc/self/status", O_RDONLY).readToEnd(limit: 64 << 10), as: UTF8.self)
        let rights = status.split(separator: "\n").filter { line in ["Uid:", "Gid:", "Groups:", "CapEff:"].contains { line.hasPrefix($0) } }
        let namespaces = try ["user", "pid"].map { try readLink("/proc/self/ns/\($0)") }
        let text = ([template.description, build] + rights.map(String.init) + namespaces).joined(separator: "\n")
        return String(ContentHash.of(Array(text.utf8)), radix: 16)
    }

    /// Machines of this kind could still be made: nothing they are made of has changed.
    func isCurrent(build: String) -> Bool { (try? Self.key(options, build)) == key }

    // MARK: Looking

    /// Every machine that waits or is being made, of whatever kind.
    public func entries() -> [Entry] { all().filter(\.isAlive) }

    /// Those a container could get, or will.
    func own() -> [Entry] { entries().filter { $0.name.hasPrefix("\(key).") } }

    public var readyCount: Int { own().count(where: \.isReady) }

    private func all() -> [Entry] {
        ((try? directory.entryNames()) ?? []).compactMap { name in
            guard let pid = name.split(separator: ".").last.flatMap({ Int32($0) }), !name.hasPrefix("."),
                let entry = try? Descriptor.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: directory)
            else { return nil }
            return Entry(keeper: pid, isReady: (try? Descriptor.openPath(Self.socketName, at: entry)) != nil, name: name, directory: entry)
        }
    }

    // MARK: Taking

    /// Takes a machine; its sockets and console are in `place` then.
    func take(to place: MachinePlace) -> HandedMachine? {
        for entry in own() where entry.isReady {
            guard let keeper = try? Descriptor.connected(to: .unix(entry.socketPath)), let own = try? ProcessHandle(processID()),
                (try? keeper.send(Array(PoolKeeper.takeRequest.utf8), passing: [place.directory, own.descriptor])) != nil
            else { continue }
            // Another start may have been quicker; then the keeper hangs up.
            let machine = (try? keeper.waitReadable(atMost: Self.patience)) == true ? HandedMachine(from: keeper) : nil
            try? place.refresh()
            if let machine { return machine }
            place.removeSockets()
        }
        return nil
    }

    // MARK: Filling

    /// Starts a keeper if there is none, which sees to the rest.
    func startIfEmpty(on loop: EventLoop) {
        if own().isEmpty { _ = try? startKeeper(isLate: true, on: loop) }
    }

    /// - Parameter isLate: it gives way to the start that is under way.
    @discardableResult
    func startKeeper(isLate: Bool, on loop: EventLoop) throws -> ChildProcess {
        var arguments = ["microvm", "pool", "keep", "--root", root.path, "--size", "\(target)"]
        if let templates = options.templates ?? TemplateStore.defaultPath { arguments += ["--templates", templates] }
        if let software = options.softwareKVM { arguments += ["--host-kind", software ? "software" : "hardware"] }
        if isLate { arguments.append("--late") }
        let child = try ChildProcess(executablePath(), arguments, ChildProcess.Options())
        child.release()
        try loop.add(child.pidfd, .readable) { [weak loop] _ in
            loop?.remove(child.pidfd)
            child.reap()
        }
        return child
    }

    /// Makes machines until the pool is full, and their template if there is none.
    public func fill(build: String, _ report: @escaping (Templates.Progress) -> Void) throws {
        let loop = try EventLoop()
        let templates = try Templates(options, build: build)
        let size = try Self.size(options)
        if try templates.store.find(templates.key(size)) == nil { try templates.make(size, on: loop, report) }
        while readyCount < target {
            if own().count >= target {
                usleep(20_000)
                continue
            }
            let child = try startKeeper(isLate: false, on: loop)
            // It ends at once when there are enough, and otherwise when it cannot make one.
            while child.end == nil, !own().contains(where: { $0.isReady && $0.keeper == child.pid }) { try loop.runOnce(milliseconds: 20) }
            if let end = child.end, end != .exited(0) {
                let reason = try? Descriptor.open(Self.failureName, O_RDONLY, at: directory).readToEnd(limit: 4096)
                throw SandboxError(.refused, "no machine can be made to wait: \(reason.map { String(decoding: $0, as: UTF8.self) } ?? "\(end)")")
            }
        }
    }

    /// For people who wonder why nothing waits.
    func note(_ error: any Error) { try? directory.replaceFile(Self.failureName, with: Array("\(error)".utf8)) }

    /// A place for one more machine, this process's as long as it lives; nil: there are enough.
    func begin() throws -> (Entry, alive: Descriptor)? {
        try locked {
            sweep()
            guard own().count < target else { return nil }
            let name = "\(key).\(processID())"
            try directory.makeDirectory(name, mode: 0o700)
            let entry = try Descriptor.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: directory)
            try entry.makeDirectory(MachinePlace.socketsName, mode: 0o700)
            let alive = try Descriptor.open(Self.aliveName, O_RDWR | O_CREAT, mode: 0o600, at: entry)
            guard try alive.tryLock(byte: 0) else { return nil }
            return (Entry(keeper: processID(), isReady: false, name: name, directory: entry), alive)
        }
    }

    func remove(_ entry: Entry) { MachinePlace.remove(entry.name, entry.directory, from: directory) }

    /// Ends every machine that waits, and waits for that. What is being made is waited for.
    public func drain() throws {
        for entry in entries() {
            while entry.isAlive {
                let keeper = try? Descriptor.connected(to: .unix(entry.socketPath))
                try? keeper?.send(Array(PoolKeeper.endRequest.utf8))
                usleep(20_000)
            }
        }
        locked { sweep() }
        PoolCgroup.remove()
    }

    /// Removes what keepers left that were killed. The lock must be held.
    private func sweep() {
        for entry in all() where !entry.isAlive { remove(entry) }
    }

    private func locked<Result>(_ body: () throws -> Result) rethrows -> Result {
        let lock = try? Descriptor.open(Self.lockName, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600, at: directory)
        while let lock, (try? lock.tryLock()) == false { usleep(10_000) }
        defer { withExtendedLifetime(lock) {} }
        return try body()
    }
}
