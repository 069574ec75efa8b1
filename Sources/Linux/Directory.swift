import CLinux
import Glibc

/// Work on a directory's entries by name, relative to its descriptor.
extension Descriptor {
    public func makeDirectory(_ name: String, mode: mode_t) throws(SystemError) {
        try check(unsafe mkdirat(raw, name, mode), "make directory \(name)")
    }

    /// Removes a file, or an empty directory.
    public func remove(_ name: String, isDirectory: Bool = false) throws(SystemError) {
        try check(unsafe unlinkat(raw, name, isDirectory ? AT_REMOVEDIR : 0), "remove \(name)")
    }

    /// Renames an entry; `EEXIST` when the new name is taken and must not be replaced.
    public func rename(_ name: String, to newName: String, replacing: Bool) throws(SystemError) {
        let flags: UInt32 = replacing ? 0 : UInt32(RENAME_NOREPLACE)
        try check(unsafe clinux_renameat2(raw, name, raw, newName, flags), "rename \(name) to \(newName)")
    }

    /// Moves an entry to another directory, in the place of a file, or of an empty directory, that has its name there.
    public func move(_ name: String, to directory: Descriptor) throws(SystemError) {
        try check(unsafe clinux_renameat2(raw, name, directory.raw, name, 0), "move \(name)")
    }

    /// Writes a file so that others see the old content or all of the new.
    public func replaceFile(_ name: String, with bytes: [UInt8], mode: mode_t = 0o600) throws(SystemError) {
        let temporary = ".\(name).new"
        let file = try Descriptor.open(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode: mode, at: self)
        do {
            try file.writeAll(bytes)
            try rename(temporary, to: name, replacing: true)
        } catch {
            try? remove(temporary)
            throw error
        }
    }

    /// Names of the directory's entries without `.` and `..`, in no order.
    public func entryNames() throws(SystemError) -> [String] {
        let copy = try Descriptor.open(".", O_RDONLY | O_DIRECTORY, at: self)
        // fdopendir takes the number over.
        guard let stream = unsafe fdopendir(clinux_fcntl(copy.raw, F_DUPFD_CLOEXEC, 3)) else { throw SystemError.current("open directory") }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// Takes an exclusive `flock`, for as long as this open file lives.
    ///
    /// - Returns: whether it could be had.
    public func tryLock() throws(SystemError) -> Bool {
        if flock(raw, LOCK_EX | LOCK_NB) == 0 { return true }
        let error = SystemError.current("lock")
        if error.errno == .wouldBlock { return false }
        throw error
    }
}

/// Makes a directory and those above it that are missing.
public func makeDirectories(_ path: String, mode: mode_t) throws(SystemError) {
    var made = ""
    for part in path.split(separator: "/") {
        made += "/\(part)"
        if unsafe mkdir(made, mode) != 0, errno != EEXIST { throw SystemError.current("make directory \(made)") }
    }
}

/// What stands before the last slash.
public func directory(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}
