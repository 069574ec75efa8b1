import Glibc
import Linux

/// What a template is good for: machines of the same files, size and command line on this host's kernel.
///
/// Two files are the same while device, number, size and change time are, which the kernel sees to; their content is
/// the VMM's to compare. CPU features too: it refuses a snapshot of another CPU.
public struct TemplateKey: Hashable, Sendable, CustomStringConvertible {
    /// Goes up when templates are made in another way.
    private static let recipe = 2

    /// 16 hexadecimal digits.
    public let description: String

    init(_ installation: Installation, _ size: MachineSize, _ options: SandboxMachine.Options) throws(SystemError) {
        var parts = ["\(Self.recipe)", kernelRelease(), "\(size.cpus)", "\(size.memory)", options.kernelArguments]
        parts.append(options.softwareKVM.map { $0 ? "software" : "hardware" } ?? "")
        for file in [installation.vmm, installation.kernel, installation.image] {
            let status = try Descriptor.openPath(file).status()
            parts += ["\(status.st_dev)", "\(status.st_ino)", "\(status.st_size)", "\(status.st_ctim.tv_sec)", "\(status.st_ctim.tv_nsec)"]
        }
        let digits = String(ContentHash.of(Array(parts.joined(separator: "\0").utf8)), radix: 16)
        description = String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// - Returns: nil for what is no key.
    public init?(_ text: String) {
        guard text.utf8.count == 16, text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 || UInt8(ascii: "a")...UInt8(ascii: "f") ~= $0 })
        else { return nil }
        description = text
    }
}
