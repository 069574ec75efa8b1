import KVM
import Linux
import Machine
import Virtio

/// One machine with the devices its options ask for.
struct VMM {
    private let machine: Machine
    private let profileOutput: Descriptor?

    /// What a guest's console may take of the host's disk.
    private static let consoleBudget = 1 << 20

    init(_ options: Options) throws {
        guard let kernel = options.kernel else { throw Options.UsageError(description: "--kernel-fd is needed") }
        let system = try System()
        let configuration = MachineConfiguration(
            cpus: options.cpus, memory: options.memory, kernel: kernel, image: options.image, commandLine: options.commandLine,
            softwareKVM: try options.softwareKVM ?? (HostProbe.run(system).kind == .software))
        let log = try options.console.map { try ConsoleLog(output: $0, byteBudget: Self.consoleBudget) }
        profileOutput = options.profile
        machine = try Machine(
            configuration, system: system, devices: { image in
                var devices: [any VirtioDevice] = []
                if let image { devices.append(PmemDevice(address: image.address, count: image.count)) }
                if let log { devices.append(ConsoleDevice(log: log)) }
                devices.append(EntropyDevice())
                return devices
            },
            serialOutput: { byte in log?.append([byte]) })
    }

    func run() throws -> EndReason {
        guard let profileOutput else { return try machine.run() }
        let profile = Profile()
        let reason = try machine.run(profile: profile)
        try profileOutput.writeAll(profile.samples.map { String($0, radix: 16) + "\n" }.joined())
        return reason
    }
}
