import Glibc
public import Linux
import OCI

/// The directory templates are kept in, one below it for each, named by its key.
///
/// Whoever can write a template owns every machine made of it, and what is in one is as secret as a guest: all of it
/// is its user's alone, and what is not is not used.
public struct TemplateStore {
    /// The least recently used make room for the next.
    private static let limit = 16
    static let recordName = "template.json"
    private static let lockName = ".lock"
    private static let newSuffix = ".new"
    private static let oldSuffix = ".old"

    public let path: String
    private let directory: Descriptor

    /// `/var/lib/microvm/templates`, or `$XDG_DATA_HOME/microvm/templates` for others than root; nil if neither can be known.
    public static var defaultPath: String? {
        if effectiveUserID() == 0, !isInUserNamespace() { return "/var/lib/microvm/templates" }
        let home = environment("XDG_DATA_HOME") ?? environment("HOME").map { "\($0)/.local/share" }
        return home.map { "\($0)/microvm/templates" }
    }

    /// Opens the store, making it if need be.
    public init(_ path: String?) throws(SystemError) {
        guard let path = path ?? Self.defaultPath else {
            throw SystemError("no directory for templates (set XDG_DATA_HOME or HOME, or give --templates)", .noSuchFileOrDirectory)
        }
        self.path = path
        do throws(SystemError) {
            try makeDirectories(path, mode: 0o700)
            directory = try Self.openOwn(path, at: nil)
        } catch {
            throw SystemError("--templates \(path): \(error.stage)", error.errno)
        }
    }

    private static func openOwn(_ name: String, at parent: Descriptor?) throws(SystemError) -> Descriptor {
        let directory = try Descriptor.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: parent)
        let status = try directory.status()
        guard status.st_uid == effectiveUserID() else { throw SystemError("it belongs to user \(status.st_uid)", .notPermitted) }
        guard status.st_mode & 0o022 == 0 else { throw SystemError("others can write to it", .notPermitted) }
        return directory
    }

    // MARK: Use

    /// The snapshot's directory, if there is one under this key; it counts as used now.
    func find(_ key: TemplateKey) -> Descriptor? {
        guard let found = try? Self.openOwn(key.description, at: directory) else { return nil }
        try? found.changeTimes(accessed: .keep, modified: .now)
        return found
    }

    /// Every template, the last used first.
    public func all() throws -> [Template] {
        let keys = try directory.entryNames().compactMap { TemplateKey($0) }
        let found = keys.compactMap { key in (try? Self.openOwn(key.description, at: directory)).map { Template(key, $0) } }
        return found.sorted { $0.usedAt > $1.usedAt }
    }

    /// - Throws: `ENOENT` for a key there is nothing under.
    public func remove(_ key: TemplateKey) throws(SystemError) {
        // The name first: whoever starts from it now has it open, whoever comes next finds none.
        let temporary = ".\(key).\(processID())\(Self.oldSuffix)"
        try directory.rename(key.description, to: temporary, replacing: false)
        removeTree(temporary)
    }

    // MARK: Building

    /// A lock that one process has at a time, for as long as the descriptor lives; nil if another has it.
    func lockForBuilding() throws(SystemError) -> Descriptor? {
        let lock = try Descriptor.open(Self.lockName, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600, at: directory)
        return try lock.tryLock() ? lock : nil
    }

    /// An empty directory for the next template; what others left goes. The lock must be held.
    func begin(_ key: TemplateKey) throws -> (name: String, directory: Descriptor) {
        for name in try directory.entryNames() where name.hasSuffix(Self.newSuffix) || name.hasSuffix(Self.oldSuffix) { removeTree(name) }
        let name = ".\(key).\(processID())\(Self.newSuffix)"
        try directory.makeDirectory(name, mode: 0o700)
        return (name, try Self.openOwn(name, at: directory))
    }

    /// Gives the new template its name, and lets go of those that are of no use any more.
    func finish(_ name: String, as key: TemplateKey) throws {
        if find(key) != nil { try remove(key) }
        try directory.rename(name, to: key.description, replacing: false)
        try directory.synchronize()
        let others = try all().filter { $0.key != key }
        for template in others where !template.isCurrent { try? remove(template.key) }
        for template in others.filter(\.isCurrent).dropFirst(Self.limit - 1) { try? remove(template.key) }
    }

    func abandon(_ name: String) {
        removeTree(name)
    }

    /// A template's directory holds files, and while it is made one directory of sockets.
    private func removeTree(_ name: String) {
        guard let tree = try? Descriptor.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: directory) else { return }
        for entry in (try? tree.entryNames()) ?? [] {
            if let below = try? Descriptor.open(entry, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: tree) {
                for name in (try? below.entryNames()) ?? [] { try? below.remove(name) }
                try? tree.remove(entry, isDirectory: true)
            } else {
                try? tree.remove(entry)
            }
        }
        try? directory.remove(name, isDirectory: true)
    }
}
