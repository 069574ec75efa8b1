import Linux
import Synchronization

/// The shares by name: the entries of the file system's root. They come and go while the guest runs.
public final class ShareTable: Sendable {
    private struct State {
        var shares: [UInt32: Share] = [:]
        var nextNumber: UInt32 = 1
    }

    private let state = Mutex(State())
    private let limits: ShareLimits
    private let budget: DescriptorBudget
    /// Where the guest sees files in place; nil: nowhere.
    public let window: MappingWindow?

    /// A share can be reached in two ways. As `NAME` its root is a file system's, so the mounts of the guest say nothing of where it came from. As
    /// `NAME@/ANYTHING` it is in a directory, which has it by whatever name it is asked for, and mounts say `/ANYTHING` (the fourth field of
    /// mountinfo), as those of the host do of a bind mount's source.
    static let holderSuffix = UInt8(ascii: "@")

    /// - Parameters:
    ///   - limits: of each share.
    ///   - descriptors: of all together; by default what this process may open, which is raised to all it can get.
    ///   - window: shared with the guest, for files it reads and writes in place.
    public init(limits: ShareLimits = ShareLimits(), descriptors: Int? = nil, window: MappingWindow? = nil) {
        self.limits = limits
        self.window = window
        budget = DescriptorBudget(limit: descriptors ?? raiseDescriptorLimit())
    }

    /// Shows the guest `root`, a directory or a regular file, as `name`.
    ///
    /// - Parameters:
    ///   - readOnly: nothing can be changed.
    ///   - exceptSubmounts: but on mounts below the root's.
    ///   - isMapped: its larger files are seen in the window. A guest that touches a page its file has lost is ended by
    ///     that, so only for what nobody else truncates.
    /// - Throws: `EEXIST` for a name in use, `EINVAL` for what is no name or neither file nor directory.
    public func add(
        _ name: String, root: Descriptor, readOnly: Bool, exceptSubmounts: Bool = false, cache: CachePolicy = .auto, isMapped: Bool = false
    ) throws {
        guard let fileName = FileName(name), name.utf8.last != Self.holderSuffix else { throw SystemError("share \(name): not a name", .invalidArgument) }
        try state.withLock { state throws(SystemError) in
            guard !state.shares.values.contains(where: { $0.name == fileName }) else {
                throw SystemError("share \(name): is there already", .fileExists)
            }
            guard state.nextNumber < NodeID.shareLimit else { throw SystemError("share \(name): too many", .noSpace) }
            state.shares[state.nextNumber] = try Share(
                number: state.nextNumber, name: fileName, root: root, readOnly: readOnly, exceptSubmounts: exceptSubmounts, cache: cache,
                window: isMapped ? window : nil, limits: limits, budget: budget)
            state.nextNumber += 1
        }
    }

    /// Takes a share from the guest. Requests under way finish; what the guest still holds of it is stale, and
    /// nothing of it stays open here.
    ///
    /// - Throws: `ENOENT` for an unknown name.
    public func remove(_ name: String) throws {
        let removed = state.withLock { state -> Share? in
            guard let share = state.shares.values.first(where: { $0.name.string.bytes == Array(name.utf8) }) else { return nil }
            return state.shares.removeValue(forKey: share.number)
        }
        guard removed != nil else { throw SystemError("share \(name): there is none", .noSuchFileOrDirectory) }
    }

    /// - Throws: `ESTALE` when the share is gone.
    func share(_ number: UInt32) throws(SystemError) -> Share {
        guard let share = state.withLock({ $0.shares[number] }) else { throw SystemError("share is gone", .staleNFSFileHandle) }
        return share
    }

    func share(named name: FileName) throws(SystemError) -> Share {
        guard let share = state.withLock({ $0.shares.values.first { $0.name == name } }) else {
            throw SystemError("no such share", .noSuchFileOrDirectory)
        }
        return share
    }

    /// A share of the same root and manner under another number, with nothing held of it but what `fill` puts there.
    func make(_ number: UInt32, like share: Share, _ fill: (Share) throws -> Void) throws -> Share {
        let made = try Share(
            number: number, name: share.name, root: share.root.descriptor, readOnly: share.readOnly, exceptSubmounts: share.exceptSubmounts,
            cache: share.cache, window: share.mayMap ? window : nil, limits: limits, budget: budget)
        try fill(made)
        return made
    }

    func replaceAll(_ shares: [Share], nextNumber: UInt32) {
        state.withLock { state in
            state.shares = [:]
            for share in shares { state.shares[share.number] = share }
            state.nextNumber = nextNumber
        }
    }

    /// The number the next share gets.
    var nextNumber: UInt32 { state.withLock { $0.nextNumber } }

    /// In the order they were added.
    var all: [Share] { state.withLock { $0.shares.values.sorted { $0.number < $1.number } } }

    /// Forgets what the guest holds.
    func reset() {
        for share in all { share.reset() }
    }
}
