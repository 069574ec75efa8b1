import Glibc
import GuestMemory
import Linux

/// A snapshot on disk: `memory`, guest RAM as a sparse file, and `state`, everything else. `state` is written last and
/// under another name first, so a directory that has one is a whole snapshot.
///
/// What is in `memory` is as secret as the guest, and whoever can write it owns the guests made of it: both files are
/// their owner's alone.
struct SnapshotDirectory: Sendable {
    static let stateName = "state"
    static let memoryName = "memory"
    private static let newStateName = ".state.new"

    let descriptor: Descriptor

    init(_ descriptor: Descriptor) { self.descriptor = descriptor }

    // MARK: Writing

    /// - Parameters:
    ///   - writeMemory: fills the memory file; returns a hash of its content.
    ///   - makeState: the content of the state file.
    func write(
        memory writeMemory: (Descriptor) throws -> UInt64, state makeState: (_ memory: FileFingerprint) throws -> [UInt8]
    ) throws {
        guard (try? open(Self.stateName)) == nil else { throw SnapshotError("there is a snapshot already") }
        removeUnfinished()
        do {
            let memory = try create(Self.memoryName)
            let hash = try writeMemory(memory)
            try memory.synchronize()
            let state = try create(Self.newStateName)
            try state.writeAll(try makeState(FileFingerprint(of: memory, contentHash: hash)))
            try state.synchronize()
            try descriptor.rename(Self.newStateName, to: Self.stateName, replacing: false)
            try descriptor.synchronize()
        } catch {
            removeUnfinished()
            throw error
        }
    }

    private func create(_ name: String) throws(SystemError) -> Descriptor {
        try Descriptor.open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600, at: descriptor)
    }

    /// What a save left behind that did not come to its end. Both names, for the memory is nothing without its state.
    private func removeUnfinished() {
        try? descriptor.remove(Self.newStateName)
        guard (try? open(Self.stateName)) == nil else { return }
        try? descriptor.remove(Self.memoryName)
    }

    // MARK: Reading

    func readState() throws -> [UInt8] {
        try openOwn(Self.stateName).readToEnd(limit: MachineState.sizeLimit)
    }

    func openMemory() throws -> Descriptor { try openOwn(Self.memoryName) }

    private func open(_ name: String) throws(SystemError) -> Descriptor {
        try Descriptor.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, at: descriptor)
    }

    private func openOwn(_ name: String) throws -> Descriptor {
        let file = try open(name)
        let status = try file.status()
        guard status.st_mode & S_IFMT == S_IFREG else { throw SnapshotError("\(name) is no regular file") }
        guard status.st_uid == effectiveUserID() else { throw SnapshotError("\(name) belongs to user \(status.st_uid)") }
        guard status.st_mode & 0o077 == 0 else { throw SnapshotError("\(name) is open to others (mode \(String(status.st_mode & 0o777, radix: 8)))") }
        return file
    }
}
