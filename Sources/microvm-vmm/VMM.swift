import KVM
import Linux
import Machine
import Virtio

/// One machine with the devices its options ask for.
struct VMM {
    private let machine: Machine
    private let profileOutput: Descriptor?

    init(_ options: Options) throws {
        guard let kernel = options.kernel else { throw Options.UsageError(description: "--kernel-fd is needed") }
        let system = try System()
        let configuration = MachineConfiguration(
            cpus: options.cpus, memory: options.memory, kernel: kernel, image: options.image, commandLine: options.commandLine,
            softwareKVM: try options.softwareKVM ?? (HostProbe.run(system).kind == .software))
        let console = options.console
        profileOutput = options.profile
        machine = try Machine(
            configuration, system: system, devices: { _ in [] },
            serialOutput: { byte in _ = try? console?.write([byte]) })
    }

    func run() throws -> EndReason {
        guard let profileOutput else { return try machine.run() }
        let profile = Profile()
        let reason = try machine.run(profile: profile)
        try profileOutput.writeAll(profile.samples.map { String($0, radix: 16) + "\n" }.joined())
        return reason
    }
}
