import AgentAPI
import Glibc
public import Linux

/// One cold boot without a container, watched, to the agent's first call.
public struct ProfiledBoot: Sendable {
    public let profile: BootProfile
    /// Nanoseconds from the guest's first instruction to the agent's call.
    public let duration: UInt64

    private static let deadline: UInt64 = 600_000_000_000
    private static let messageLimit = 4096

    /// - Parameters:
    ///   - symbols: System.map of the kernel; nil: ours.
    ///   - directory: an empty one for the guest's sockets.
    public init(_ options: SandboxMachine.Options, cpus: Int, memory: Int, symbols: String?, in directory: Descriptor) throws {
        let installation = try Installation(vmm: options.vmm, kernel: options.kernel, image: options.image)
        let (kernel, image) = try installation.open()
        let table = SymbolTable(String(decoding: try Self.open(symbols ?? installation.symbols).readToEnd(), as: UTF8.self))
        let place = "/proc/self/fd/\(directory.raw)"
        let vsock = try Descriptor.listening(at: .unix("\(place)/vsock"))
        let agent = try Descriptor.listening(at: .unix("\(place)/vsock_\(AgentAddress.rpcPort)"))
        let samples = try makeMemoryFile("profile", count: 0)
        let (control, theirs) = try Descriptor.messageSocketPair()
        var arguments = [
            "microvm-vmm", "--cpus", "\(cpus)", "--memory", "\(memory)", "--kernel-fd", "\(kernel.raw)", "--image-fd", "\(image.raw)",
            "--control-fd", "\(theirs.raw)", "--vsock-fd", "\(vsock.raw)", "--vsock-path", "vsock", "--directory-fd", "\(directory.raw)",
            "--profile-fd", "\(samples.raw)", "--kill-with-parent", "--jail",
        ]
        if !options.kernelArguments.isEmpty { arguments += ["--cmdline", options.kernelArguments] }
        if let software = options.softwareKVM { arguments += ["--host-kind", software ? "software" : "hardware"] }
        var process = ChildProcess.Options()
        process.diesWithParent = true
        process.inherited = [kernel, image, theirs, vsock, directory, samples]
        let child = try ChildProcess(installation.vmm, arguments, process)
        defer { child.kill() }

        let words = String(decoding: try Self.receive(control), as: UTF8.self).split(separator: " ")
        guard words.count >= 3, words[1] == "started", let began = UInt64(words[2]) else {
            throw SandboxError(.monitorEnded, "the virtual machine monitor ended before the guest ran")
        }
        guard try agent.waitReadable(atMost: Self.deadline) else { throw SandboxError(.timedOut, "the guest's agent did not call") }
        duration = monotonicNanoseconds() - began
        try control.send(Array("stop".utf8))
        guard try child.pidfd.waitReadable(atMost: Self.deadline) else { throw SandboxError(.timedOut, "the virtual machine monitor does not end") }
        profile = BootProfile(String(decoding: try samples.read(upTo: Int(samples.status().st_size), at: 0), as: UTF8.self), table)
    }

    private static func open(_ symbols: String) throws(SandboxError) -> Descriptor {
        do throws(SystemError) { return try Descriptor.open(symbols, O_RDONLY) } catch {
            throw SandboxError(.missing(error.errno), "--symbols \(symbols): \(error.errno)")
        }
    }

    private static func receive(_ control: Descriptor) throws -> [UInt8] {
        guard try control.waitReadable(atMost: deadline) else { throw SandboxError(.timedOut, "the virtual machine monitor says nothing") }
        return try control.receive(limit: messageLimit).bytes
    }
}
