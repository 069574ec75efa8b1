import KVM
import Linux
import Machine
import Virtio

/// One machine with the devices its options ask for.
struct VMM {
    private let machine: Machine

    init(_ options: Options) throws {
        guard let kernel = options.kernel else { throw Options.UsageError(description: "--kernel-fd is needed") }
        let system = try System()
        let configuration = MachineConfiguration(
            cpus: options.cpus, memory: options.memory, kernel: kernel, image: options.image, commandLine: options.commandLine,
            softwareKVM: options.softwareKVM ?? false)
        let console = options.console
        machine = try Machine(
            configuration, system: system, devices: { _ in [] },
            serialOutput: { byte in _ = try? console?.write([byte]) })
    }

    func run() throws -> EndReason {
        try machine.run()
    }
}
