import Glibc
import Linux

/// Writes a process's id to `path`: no newline, for engines convert the bytes as they are.
func writePIDFile(_ path: String, _ pid: Int32 = processID()) throws(SandboxError) {
    let name = path.split(separator: "/").last.map(String.init) ?? ""
    do throws(SystemError) {
        try Descriptor.open(directory(of: path), O_RDONLY | O_DIRECTORY)
            .replaceFile(name, with: Array("\(pid)".utf8), mode: 0o644)
    } catch {
        throw SandboxError(.missing(error.errno), "--pid-file \(path): \(error)")
    }
}
