import FUSE
import Glibc
import KVM
import Linux
import Machine
import Virtio

/// One machine with the devices its options ask for, and the control socket.
struct VMM {
    private let machine: Machine
    private let control: ControlSocket?
    private let profileOutput: Descriptor?
    private let isJailed: Bool
    private var times = ControlSocket.StartTimes()

    /// - Parameter began: when the program did, by the monotonic clock.
    init(_ options: Options, began: UInt64) throws {
        times.began = began
        guard let kernel = options.kernel else { throw Options.UsageError(description: "--kernel-fd is needed") }
        Self.makeRoomForDescriptors(kernel)
        let system = try System()
        let softwareKVM = try options.softwareKVM ?? (HostProbe.run(system).kind == .software)
        // Sockets of guest connections are named relative to it: a path of any length fits.
        if let directory = options.directory { try changeDirectory(to: directory) }
        let program = try Descriptor.open("/proc/self/exe", O_RDONLY)
        // A host without one has nothing to tell.
        let pagemap = options.watchMemory ? try? Descriptor.open("/proc/self/pagemap", O_RDONLY) : nil
        let devices =
            options.jail
            ? try Jail.enter(keepingWorkingDirectory: options.directory != nil) { try Devices(options, softwareKVM: softwareKVM) }
            : try Devices(options, softwareKVM: softwareKVM)
        if options.killWithParent { try dieWithParent() }
        times.jailed = monotonicNanoseconds()
        var configuration = MachineConfiguration(
            cpus: options.cpus, memory: options.memory, kernel: kernel, image: options.image, commandLine: options.commandLine,
            softwareKVM: softwareKVM, program: program)
        configuration.possibleCPUs = options.possibleCPUs ?? options.cpus
        configuration.extraMemory = options.extraMemory
        configuration.pagemap = pagemap
        configuration.prefault = options.prefault
        let serialOutput: @Sendable (UInt8) -> Void = { devices.log?.append([$0]) }
        let machine =
            if let snapshot = options.restore {
                try Machine(
                    restoring: snapshot, base: options.base, configuration, system: system, devices: { devices.list(image: $0) }, serialOutput: serialOutput)
            } else {
                try Machine(configuration, system: system, devices: { devices.list(image: $0) }, serialOutput: serialOutput)
            }
        self.machine = machine
        times.loaded = monotonicNanoseconds()
        profileOutput = options.profile
        isJailed = options.jail
        control = try options.control.map { socket in
            try ControlSocket(
                socket,
                .init(
                    share: { try devices.share($0, $1, $2) }, connect: { try devices.connect($0, $1, $2) }, unshare: { try devices.shares.remove($0) },
                    waitForMemory: devices.waitForMemory, written: { try machine.writtenPages() },
                    touched: { try machine.touchedPages() },
                    pause: { machine.pause() }, resume: { machine.resume() }, stop: { machine.stop() },
                    snapshot: { try machine.save(to: $0, since: $1) },
                    metrics: { devices.metrics + machine.kvmCounters.map { " kvm.\($0.name)=\($0.value)" }.joined() }))
        }
    }

    /// A table of descriptors that grows once there are threads waits for a grace period (Linux, fs/file.c, expand_fdtable): at the 65th,
    /// among the devices' threads, that took 8 ms of a restore, and 10 in the lab.
    private static func makeRoomForDescriptors(_ any: Descriptor) {
        // The highest there will be, and more: with less room allowed, it grows when it must.
        _ = try? any.duplicate(from: 255)
    }

    func run() throws -> EndReason {
        let profile = profileOutput.map { _ in Profile() }
        let reason = try machine.run(profile: profile, starting: starting, started: { control?.open() })
        control?.send(.ended(reason))
        if let profile, let profileOutput {
            try profileOutput.writeAll(profile.samples.map(line).joined())
        }
        return reason
    }

    private func line(_ sample: Profile.Sample) -> String {
        "\(sample.time) \(sample.stack.map { String($0, radix: 16) }.joined(separator: " "))\n"
    }

    /// All threads are there, and no instruction of the guest has run.
    private func starting() throws {
        if isJailed { try Jail.confineThread(as: .main) }
        var times = times
        times.started = monotonicNanoseconds()
        control?.send(.started(times))
    }
}
