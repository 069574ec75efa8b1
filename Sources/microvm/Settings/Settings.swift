import Glibc
import Linux
import Sandbox

/// What an operator sets for every command, in a file.
struct Settings: Equatable {
    /// `[pool] size`: how many restored machines wait for containers.
    var poolSize = 0

    private static let limit = 64 << 10
    private static let poolSizes = 0...64

    /// Of the first file that is there: what the flag names, `$XDG_CONFIG_HOME/microvm/config.toml` of others than root,
    /// `/etc/microvm/config.toml`. Without one nothing is set.
    static func load(_ path: String?) throws -> Settings {
        if let path {
            guard let settings = try read(path) else { throw Failure(.missing, "--settings \(path): no such file") }
            return settings
        }
        let own = isRealRoot() ? nil : environment("XDG_CONFIG_HOME") ?? environment("HOME").map { "\($0)/.config" }
        let paths = [own, "/etc"].compactMap { $0.map { "\($0)/microvm/config.toml" } }
        // What this user may not look at is not for it: after a change of user HOME is often still another's.
        for path in paths { if let settings = try read(path, orUnreadable: true) { return settings } }
        return Settings()
    }

    /// Nil: there is none, or, where that is no error, none to be read.
    private static func read(_ path: String, orUnreadable mayBeUnreadable: Bool = false) throws -> Settings? {
        let bytes: [UInt8]
        do throws(SystemError) { bytes = try Descriptor.open(path, O_RDONLY | O_NONBLOCK).readToEnd(limit: limit) } catch {
            if error.errno == .noSuchFileOrDirectory || mayBeUnreadable && error.errno == .permissionDenied { return nil }
            throw Failure(ExitStatus(of: error), "\(path): \(error.errno)")
        }
        return try Settings(String(decoding: bytes, as: UTF8.self), name: path)
    }

    init() {}

    /// - Parameter name: for errors. What is not known is refused by its name.
    init(_ text: String, name: String) throws(Failure) {
        for entry in try SettingsFile(text, name: name).entries {
            guard entry.table == "pool", entry.key == "size" else {
                throw Failure(.badInput, "\(name):\(entry.line): there is no setting \(entry.table.isEmpty ? "" : "\(entry.table).")\(entry.key)")
            }
            guard Self.poolSizes.contains(entry.value) else {
                throw Failure(.badInput, "\(name):\(entry.line): pool.size: \(entry.value) is not between \(Self.poolSizes.lowerBound) and \(Self.poolSizes.upperBound)")
            }
            poolSize = entry.value
        }
    }
}
