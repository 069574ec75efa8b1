import Glibc
import Linux

/// What a bind mount's source is, as far as sharing it matters.
public enum SourceKind: Sendable, Equatable {
    case directory
    case file
    /// The root of a tmpfs of this many bytes.
    case hostMemory(UInt64)
    case characterDevice(UInt32, UInt32)
    /// In words: "socket".
    case other(String)

    /// null, zero, full, random, urandom, tty: the same in every kernel.
    static let memoryDevices: Set<[UInt32]> = [[1, 3], [1, 5], [1, 7], [1, 8], [1, 9], [5, 0]]

    /// Looks at `path` on this host.
    public static func of(_ path: String) throws(SandboxError) -> SourceKind {
        do throws(SystemError) {
            let file = try Descriptor.openPath(path)
            let status = try file.status()
            switch status.st_mode & S_IFMT {
            case S_IFDIR:
                if let size = try file.memoryFileSystemSize() { return .hostMemory(size) }
                return .directory
            case S_IFREG: return .file
            case S_IFCHR: return .characterDevice(deviceMajor(status.st_rdev), deviceMinor(status.st_rdev))
            case S_IFBLK: return .other("block device")
            case S_IFSOCK: return .other("socket")
            case S_IFIFO: return .other("FIFO")
            default: return .other("file of an unknown kind")
            }
        } catch {
            throw SandboxError(.missing(error.errno), "\(path): \(error.errno)")
        }
    }
}
