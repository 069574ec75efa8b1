import CLinux
import Glibc

/// Work on entries of a directory by checked name. The directory may be an `O_PATH` descriptor; no name
/// is ever followed out of it.
extension Descriptor {
    /// The entry itself, whatever it is, without opening it (`O_PATH | O_NOFOLLOW`).
    public func openPath(_ name: FileName) throws(SystemError) -> Descriptor {
        try openAt(name, O_PATH | O_NOFOLLOW, 0, "open")
    }

    /// What is at `path` below this directory, without opening it: neither `..` nor a link leads anywhere, mounts do.
    public func openBelow(_ path: [UInt8]) throws(SystemError) -> Descriptor {
        guard let path = KernelString(path) else { throw SystemError("open", .invalidArgument) }
        return Descriptor(adopting: try checkRetrying("open") { unsafe clinux_open_below(raw, path.characters) })
    }

    /// A regular file that did not exist before (`O_CREAT | O_EXCL`): what exists is never opened.
    public func createFile(_ name: FileName, _ flags: Int32, mode: UInt32) throws(SystemError) -> Descriptor {
        try openAt(name, flags | O_CREAT | O_EXCL | O_NOFOLLOW, mode, "create")
    }

    /// A regular file without a name (`O_TMPFILE`) in this directory.
    public func createUnnamedFile(_ flags: Int32, mode: UInt32) throws(SystemError) -> Descriptor {
        Descriptor(adopting: try check(unsafe clinux_open_at(raw, ".", flags | __O_TMPFILE | O_DIRECTORY | O_CLOEXEC, mode), "create"))
    }

    private func openAt(_ name: FileName, _ flags: Int32, _ mode: UInt32, _ stage: StaticString) throws(SystemError) -> Descriptor {
        let raw = try checkRetrying("\(stage)") { unsafe clinux_open_at(self.raw, name.characters, flags | O_CLOEXEC, mode) }
        return Descriptor(adopting: raw)
    }

    public func makeDirectory(_ name: FileName, mode: UInt32) throws(SystemError) {
        try check(unsafe mkdirat(raw, name.characters, mode), "mkdir")
    }

    /// A FIFO, socket, device or empty regular file; the kind is in `mode`.
    public func makeNode(_ name: FileName, mode: UInt32, device: UInt64) throws(SystemError) {
        try check(unsafe mknodat(raw, name.characters, mode, dev_t(device)), "mknod")
    }

    public func makeSymbolicLink(_ name: FileName, to target: KernelString) throws(SystemError) {
        try check(unsafe symlinkat(target.characters, raw, name.characters), "symlink")
    }

    public func removeFile(_ name: FileName) throws(SystemError) {
        try check(unsafe unlinkat(raw, name.characters, 0), "unlink")
    }

    public func removeDirectory(_ name: FileName) throws(SystemError) {
        try check(unsafe unlinkat(raw, name.characters, AT_REMOVEDIR), "rmdir")
    }

    /// `renameat2(2)`; `flags` are `RENAME_…`.
    public func rename(_ name: FileName, to newDirectory: Descriptor, _ newName: FileName, flags: UInt32) throws(SystemError) {
        try check(unsafe clinux_renameat2(raw, name.characters, newDirectory.raw, newName.characters, flags), "rename")
    }

    /// The target of the symbolic link behind this `O_PATH` descriptor.
    public func linkTarget() throws(SystemError) -> [UInt8] {
        var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = try unsafe target.withUnsafeMutableBytes { buffer -> Result<Int, SystemError> in
            Result { () throws(SystemError) -> Int in
                try check(unsafe clinux_read_link(raw, buffer.baseAddress, buffer.count), "readlink")
            }
        }.get()
        target.removeLast(target.count - count)
        return target
    }
}
