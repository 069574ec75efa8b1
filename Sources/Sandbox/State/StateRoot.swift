import Glibc
import Linux
import OCI

/// The directory all sandboxes have theirs in.
public struct StateRoot: Sendable {
    public let path: String

    /// - Parameter path: nil: `/run/microvm`, or `$XDG_RUNTIME_DIR/microvm` for a user who cannot write there.
    public init(_ path: String?) throws(SandboxError) {
        if let path {
            self.path = absolutePath(path)
        } else if effectiveUserID() == 0, !isInUserNamespace() || environment("XDG_RUNTIME_DIR") == nil {
            self.path = "/run/microvm"
        } else if let runtime = environment("XDG_RUNTIME_DIR") {
            self.path = runtime + "/microvm"
        } else {
            throw SandboxError(.badInput, "no directory for state: set XDG_RUNTIME_DIR or give --root")
        }
    }

    /// Opens the directory, making it if needed.
    func open() throws(SandboxError) -> Descriptor {
        do throws(SystemError) {
            try makeDirectories(path, mode: 0o711)
            return try Descriptor.open(path, O_RDONLY | O_DIRECTORY)
        } catch {
            throw SandboxError(.missing(error.errno), "--root \(path): \(error)")
        }
    }

    /// Makes the directory if needed.
    public func ensure() throws(SandboxError) {
        _ = try open()
    }

    /// A directory of ours beside the sandboxes', which its name cannot clash with: it begins with a dot.
    func makeDirectory(_ name: String) throws -> Descriptor {
        let root = try open()
        do throws(SystemError) { try root.makeDirectory(name, mode: 0o700) } catch where error.errno == .fileExists {}
        return try Descriptor.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: root)
    }

    /// Every sandbox's id, in order.
    public func ids() -> [String] {
        guard let root = try? Descriptor.open(path, O_RDONLY | O_DIRECTORY), let names = try? root.entryNames() else { return [] }
        return names.filter { isSandboxName($0) }.sorted()
    }
}

/// Names with a leading dot are directories being made or removed, and ours.
func isSandboxName(_ name: String) -> Bool {
    isValidContainerID(name) && !name.hasPrefix(".")
}

/// An environment variable; engines set some to nothing, which counts as unset.
public func environment(_ name: String) -> String? {
    guard let value = getenv(name) else { return nil }
    let text = String(cString: value)
    return text.isEmpty ? nil : text
}

public func absolutePath(_ path: String) -> String {
    guard !path.hasPrefix("/"), let working = currentDirectory() else { return path }
    return ([working] + path.split(separator: "/").filter { $0 != "." }.map(String.init)).joined(separator: "/")
}

/// Whether this process may do what it likes on this host.
public func isRealRoot() -> Bool { effectiveUserID() == 0 && !isInUserNamespace() }

/// Root of a user namespace only (rootless podman) has the whole range of ids not mapped.
func isInUserNamespace() -> Bool {
    guard let file = try? Descriptor.open("/proc/self/uid_map", O_RDONLY), let bytes = try? file.read(upTo: 256) else { return false }
    return String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace) != ["0", "0", "4294967295"]
}
