import Glibc
public import Linux
import OCI

/// One sandbox's directory, `<root>/<id>`: `state.json`, `config.json` as it was at creation, sockets, the console's log.
///
/// Its monitor holds a lock in it from before the directory has its name until the monitor's end, however that
/// comes: who finds the lock free knows that there is no monitor and no machine any more.
public final class StateDirectory {
    private static let lockName = "lock"
    private static let stateName = "state.json"
    private static let configName = "config.json"
    private static let stateLimit = 1 << 20
    /// Bytes of the lock file.
    private static let life = 0
    private static let removal = 1

    public let id: String
    public let path: String
    public let descriptor: Descriptor
    /// Of the sandbox's machine.
    let machinePlace: MachinePlace
    private let root: Descriptor
    private let lock: Descriptor

    private init(id: String, path: String, root: Descriptor, descriptor: Descriptor, lock: Descriptor) throws(SystemError) {
        self.id = id
        self.path = path
        self.root = root
        self.descriptor = descriptor
        machinePlace = try MachinePlace(descriptor)
        self.lock = lock
    }

    /// Makes a sandbox's directory and becomes its monitor. Of several that try one succeeds.
    public static func create(_ record: SandboxRecord, config: JSON.Value, in root: StateRoot) throws -> StateDirectory {
        let parent = try root.open()
        let temporary = ".\(record.id.prefix(200)).\(processID()).new"
        try parent.makeDirectory(temporary, mode: 0o700)
        let descriptor = try Descriptor.open(temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: parent)
        do {
            let lock = try Descriptor.open(lockName, O_RDWR | O_CREAT, mode: 0o600, at: descriptor)
            guard try lock.tryLock(byte: life) else { throw SandboxError(.exists, "\(temporary): locked") }
            try descriptor.makeDirectory(MachinePlace.socketsName, mode: 0o700)
            let directory = try StateDirectory(id: record.id, path: "\(root.path)/\(record.id)", root: parent, descriptor: descriptor, lock: lock)
            try directory.write(record)
            try descriptor.replaceFile(configName, with: Array(JSON.write(config).utf8))
            try parent.rename(temporary, to: record.id, replacing: false)
            return directory
        } catch {
            MachinePlace.remove(temporary, descriptor, from: parent)
            if let error = error as? SystemError, error.errno == .fileExists {
                throw SandboxError(.exists, "container with id exists: \(record.id)")
            }
            throw error
        }
    }

    public static func open(_ id: String, in root: StateRoot) throws(SandboxError) -> StateDirectory {
        guard isSandboxName(id) else { throw SandboxError(.badInput, "\"\(id)\": invalid container id") }
        do throws(SystemError) {
            let parent = try Descriptor.open(root.path, O_RDONLY | O_DIRECTORY)
            let descriptor = try Descriptor.open(id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: parent)
            let lock = try Descriptor.open(lockName, O_RDWR, at: descriptor)
            return try StateDirectory(id: id, path: "\(root.path)/\(id)", root: parent, descriptor: descriptor, lock: lock)
        } catch {
            guard error.errno == .noSuchFileOrDirectory else { throw SandboxError(.missing(error.errno), "\(root.path)/\(id): \(error)") }
            throw SandboxError(.noSuchContainer, "container \"\(id)\" does not exist")
        }
    }

    /// Whether another process is the sandbox's monitor now.
    public func hasMonitor() throws(SystemError) -> Bool {
        try lock.isLocked(byte: Self.life)
    }

    /// What the monitor last wrote; stopped, if it is gone.
    public func read() throws -> SandboxRecord {
        let alive = try hasMonitor()
        let file = try Descriptor.open(Self.stateName, O_RDONLY, at: descriptor)
        let bytes = try file.readToEnd(limit: Self.stateLimit)
        var record: SandboxRecord
        do throws(JSON.Error) { record = try JSON.decode(from: bytes) } catch {
            throw SandboxError(.badInput, "\(path)/\(Self.stateName): \(error)")
        }
        guard record.version == SandboxRecord.currentVersion else {
            throw SandboxError(.badInput, "\(path)/\(Self.stateName): written by another version of microvm (format \(record.version))")
        }
        if !alive { record.status = .stopped }
        return record
    }

    public func write(_ record: SandboxRecord) throws {
        try descriptor.replaceFile(Self.stateName, with: Array(JSON.encode(record).utf8))
    }

    /// The config.json the container was created with.
    public func config() throws -> Spec { try JSON.decode(from: configText()) }

    /// The same as it stands there.
    func configText() throws -> [UInt8] {
        try Descriptor.open(Self.configName, O_RDONLY, at: descriptor).readToEnd(limit: Bundle.configLimit)
    }

    /// A path that leads to `name` in the directory and fits a socket's address, as long as this object lives.
    public func socketPath(_ name: String) -> String { "/proc/self/fd/\(descriptor.raw)/\(name)" }

    /// Removes the sockets of a machine that has ended.
    func removeSockets() {
        machinePlace.removeSockets()
        try? descriptor.remove(ControlService.socketName)
    }

    /// Removes the directory, for its monitor.
    public func removeOwn() {
        Self.remove(self, from: root)
    }

    /// Removes the directory of a sandbox without a monitor.
    ///
    /// - Returns: false when there is a monitor, or somebody else is removing it.
    public func removeStale() throws(SystemError) -> Bool {
        guard try lock.tryLock(byte: Self.removal), try !hasMonitor() else { return false }
        Self.remove(self, from: root)
        return true
    }

    /// The name goes first, so that it is free for the next sandbox however long the rest takes.
    private static func remove(_ directory: StateDirectory, from root: Descriptor) {
        let temporary = ".\(directory.id.prefix(200)).\(processID()).old"
        let isStillThere = (try? Descriptor.openPath(directory.id, O_NOFOLLOW, at: root).status()).map { there in
            (try? directory.descriptor.status()).map { $0.st_ino == there.st_ino && $0.st_dev == there.st_dev } ?? false
        }
        guard isStillThere == true, (try? root.rename(directory.id, to: temporary, replacing: false)) != nil else { return }
        MachinePlace.remove(temporary, directory.descriptor, from: root)
    }

    /// Removes what processes left that were killed: directories half made or half removed, and transient ones whose monitor is gone.
    public static func sweep(_ root: StateRoot) {
        guard let parent = try? Descriptor.open(root.path, O_RDONLY | O_DIRECTORY), let names = try? parent.entryNames() else { return }
        for name in names where name != LedgerStore.directoryName {
            if isSandboxName(name) {
                guard let directory = try? open(name, in: root), let record = try? directory.read(), record.isTransient else { continue }
                if (try? directory.removeStale()) == true { ContainerCgroup.remove(record.cgroups) }
            } else if name.hasSuffix(".new") || name.hasSuffix(".old") {
                sweepTemporary(name, in: parent)
            }
        }
    }

    private static func sweepTemporary(_ name: String, in parent: Descriptor) {
        // .ID.PID.new or .old; without its process nobody goes on with it.
        guard let pid = name.split(separator: ".").dropLast().last.flatMap({ Int32($0) }), (try? ProcessHandle(pid)) == nil,
            let descriptor = try? Descriptor.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: parent)
        else { return }
        MachinePlace.remove(name, descriptor, from: parent)
    }
}
