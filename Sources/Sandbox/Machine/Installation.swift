import Glibc
public import Linux

/// Where our own files are: programs side by side, guest files in `../share/microvm`.
///
/// Found from this process's executable, never from PATH: engines call with an empty environment.
public struct Installation: Sendable {
    public let vmm: String
    public let kernel: String
    public let image: String
    /// System.map of our kernel.
    let symbols: String

    /// Paths given are taken; what is not is looked for beside this program.
    public init(vmm: String? = nil, kernel: String? = nil, image: String? = nil) throws(SystemError) {
        let programs = directory(of: try executablePath())
        let files = "\(directory(of: programs))/share/microvm"
        self.vmm = vmm ?? "\(programs)/microvm-vmm"
        self.kernel = kernel ?? "\(files)/vmlinux"
        self.image = image ?? "\(files)/guest.erofs"
        symbols = "\(files)/System.map"
    }

    /// Opens the kernel and the guest image, and finds the monitor; the error names the flag that gives another.
    func open() throws(SandboxError) -> (kernel: Descriptor, image: Descriptor) {
        do throws(SystemError) { _ = try Descriptor.openPath(vmm) } catch { throw SandboxError(.missing(error.errno), "--vmm \(vmm): \(error.errno)") }
        return (try Self.open("--kernel", kernel), try Self.open("--image", image))
    }

    private static func open(_ flag: String, _ path: String) throws(SandboxError) -> Descriptor {
        do throws(SystemError) {
            // Non-blocking: a FIFO would wait for a writer.
            let file = try Descriptor.open(path, O_RDONLY | O_NONBLOCK)
            let status = try file.status()
            guard status.st_mode & S_IFMT == S_IFREG else { throw SystemError("not a regular file", .invalidArgument) }
            guard status.st_size > 0 else { throw SystemError("empty", .invalidArgument) }
            return file
        } catch {
            let reason = error.errno == .invalidArgument ? error.stage : "\(error.errno)"
            throw SandboxError(error.errno == .invalidArgument ? .badInput : .missing(error.errno), "\(flag) \(path): \(reason)")
        }
    }
}
