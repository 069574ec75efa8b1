import Glibc
import Linux

/// A directory with a config.json (bundle.md).
public struct Bundle: Sendable {
    /// Absolute path.
    public let path: String
    public let spec: Spec
    /// The configuration's name, from the bundle on.
    public private(set) var config = Self.configName
    /// The file as it was written, with what ``spec`` has no field for.
    public let document: JSON.Value

    public static let configName = "config.json"

    /// Real configs are below 100 KiB, and a spec must fit the agent's 4 MiB messages.
    public static let configLimit = 2 << 20

    /// Reads `path`/config.json, or what takes its place. ``Spec/validate(inContext:)`` is the caller's next step.
    ///
    /// - Parameter config: absolute, or from the bundle on.
    public static func load(_ path: String, config: String = configName) throws(BundleError) -> Bundle {
        let directory = absolute(path)
        let file = config.hasPrefix("/") ? config : "\(directory)/\(config)"
        do throws(SystemError) {
            _ = try Descriptor.open(directory, O_RDONLY | O_DIRECTORY)
        } catch {
            let reason = error.errno == .noSuchFileOrDirectory ? "no such bundle" : "\(error.errno)"
            throw BundleError(file: path, .unreadable(error.errno), reason)
        }
        let document = try readFile(file, limit: configLimit)
        do throws(JSON.Error) {
            return Bundle(path: directory, spec: try JSON.decode(from: document), config: config, document: document)
        } catch {
            throw BundleError(file: file, .malformed, error.description)
        }
    }

    /// Reads one JSON file, for a bundle's config as for `exec --process` and `update --resources`.
    ///
    /// - Parameters:
    ///   - limit: bytes; a bigger file is refused.
    ///   - orPipe: a pipe is read to its end, however long that takes: the caller's shell has made it (`<(…)`).
    public static func readFile(_ file: String, limit: Int = configLimit, orPipe: Bool = false) throws(BundleError) -> JSON.Value {
        let bytes: [UInt8]
        do throws(SystemError) {
            // Non-blocking: opening a FIFO would otherwise wait for a writer.
            let descriptor = try Descriptor.open(file, orPipe ? O_RDONLY : O_RDONLY | O_NONBLOCK)
            let kind = try descriptor.status().st_mode & S_IFMT
            guard kind == S_IFREG || orPipe && kind == S_IFIFO else {
                throw SystemError("not a regular file", .invalidArgument)
            }
            bytes = try descriptor.readToEnd(limit: limit)
        } catch {
            switch error.errno {
            case .noSuchFileOrDirectory: throw BundleError(file: file, .unreadable(error.errno), "no such file")
            case .fileTooLarge: throw BundleError(file: file, .malformed, "larger than \(limit) bytes")
            case .invalidArgument: throw BundleError(file: file, .malformed, error.stage)
            default: throw BundleError(file: file, .unreadable(error.errno), "\(error.errno)")
            }
        }
        do throws(JSON.Error) {
            return try JSON.read(bytes)
        } catch {
            throw BundleError(file: file, .malformed, error.description)
        }
    }

    /// The root file system: an absolute path of a directory.
    public func rootfs() throws(BundleError) -> String {
        let file = config.hasPrefix("/") ? config : "\(path)/\(config)"
        guard let root = spec.root else { throw BundleError(file: file, .malformed, "root: missing") }
        let rootfs = root.path.hasPrefix("/") ? root.path : path + "/" + root.path
        do throws(SystemError) {
            _ = try Descriptor.open(rootfs, O_RDONLY | O_DIRECTORY)
            return rootfs
        } catch {
            throw BundleError(file: file, .unreadable(error.errno), "root.path: \(rootfs): \(error.errno)")
        }
    }

    private static func absolute(_ path: String) -> String {
        var path = path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        if path.hasPrefix("/") { return path }
        guard let working = currentDirectory() else { return path }
        return path == "." || path.isEmpty ? working : "\(working)/\(path)"
    }
}

/// Why a bundle or another JSON file cannot be used: one line that names the file.
public struct BundleError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Kind: Sendable, Equatable {
        case unreadable(Errno)
        case malformed
    }

    public let file: String
    public let kind: Kind
    public let reason: String

    init(file: String, _ kind: Kind, _ reason: String) {
        self.file = file
        self.kind = kind
        self.reason = reason
    }

    /// `/bundle/config.json: line 3, column 7: process.cwd: want string, is number`
    public var description: String { "\(file): \(reason)" }
}
