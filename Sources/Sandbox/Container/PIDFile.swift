import Glibc
import Linux

/// Writes this process's id to `path`: no newline, for engines convert the bytes as they are.
func writePIDFile(_ path: String) throws(SandboxError) {
    let name = path.split(separator: "/").last.map(String.init) ?? ""
    do throws(SystemError) {
        try Descriptor.open(directory(of: path), O_RDONLY | O_DIRECTORY)
            .replaceFile(name, with: Array("\(processID())".utf8), mode: 0o644)
    } catch {
        throw SandboxError(.missing(error.errno), "--pid-file \(path): \(error)")
    }
}
