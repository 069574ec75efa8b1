import CLinux
import Glibc

/// `/proc/self/fd`, opened once: the way from an `O_PATH` descriptor to an open file, which works when
/// `/proc` itself is out of reach after a pivot.
///
/// It belongs to the process that opened it; open it after the last fork.
public struct DescriptorNumbers: Sendable {
    let directory: Descriptor

    public init() throws(SystemError) {
        // A mount of its own, where this process may make one: no `..` leads out of it.
        if let tree = try? Descriptor.mountTree("/proc/self/fd", recursive: false) {
            directory = tree
        } else {
            directory = try Descriptor.open("/proc/self/fd", O_PATH | O_DIRECTORY)
        }
    }

    /// Opens the very file behind `file`. The caller has made sure that it is regular or a directory.
    public func reopen(_ file: Descriptor, _ flags: Int32) throws(SystemError) -> Descriptor {
        Descriptor(adopting: try checkRetrying("open") { clinux_reopen(directory.raw, file.raw, flags | O_CLOEXEC | O_NOCTTY) })
    }

    /// The path of the file behind `file` now, as the mounts it was opened in have it. Of a file that has lost the name it was
    /// opened by it ends with ` (deleted)`.
    public func target(of file: Descriptor) throws(SystemError) -> [UInt8] {
        var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = try unsafe target.withUnsafeMutableBytes { buffer in
            Result { () throws(SystemError) -> Int in
                try check(unsafe clinux_target(directory.raw, file.raw, buffer.baseAddress, buffer.count), "readlink")
            }
        }.get()
        target.removeLast(target.count - count)
        return target
    }

    /// The very file behind `file` as an `O_PATH` descriptor.
    public func path(of file: Descriptor) throws(SystemError) -> Descriptor { try reopen(file, O_PATH) }

    public func changeMode(_ file: Descriptor, _ mode: UInt32) throws(SystemError) {
        try check(clinux_change_mode(directory.raw, file.raw, mode), "chmod")
    }

    /// Gives the file behind `file` another name.
    public func link(_ file: Descriptor, in newDirectory: Descriptor, _ name: FileName) throws(SystemError) {
        try check(unsafe clinux_link(directory.raw, file.raw, newDirectory.raw, name.characters), "link")
    }
}
