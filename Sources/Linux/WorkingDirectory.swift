import Glibc

/// The working directory's absolute path; nil when it was removed or lies outside the root.
public func currentDirectory() -> String? {
    guard let path = unsafe getcwd(nil, 0) else { return nil }
    defer { unsafe free(path) }
    let text = unsafe String(cString: path)
    // getcwd(2): "(unreachable)" for a directory that no path leads to.
    return text.hasPrefix("/") ? text : nil
}

public func changeDirectory(to path: String) throws(SystemError) {
    try check(unsafe chdir(path), "change directory to \(path)")
}

/// Makes `directory` the working directory of every thread that shares this one's.
public func changeDirectory(to directory: Descriptor) throws(SystemError) {
    try check(fchdir(directory.raw), "change directory")
}
