import CLinux
import Glibc
import GuestMemory
import KVM
import Linux
import Synchronization
import Virtio

/// What a machine is made of. Files arrive open: the VMM chooses no path.
public struct MachineConfiguration: Sendable {
    /// 1…16. More than a snapshot has are fresh when the guest goes on, which may bring them up then.
    public var cpus: Int
    /// As many as a machine that goes on from this one's snapshot may have: the guest is told of them at its boot. ``cpus`` to 16.
    public var possibleCPUs: Int
    /// Guest RAM in bytes, a multiple of 4,096.
    public var memory: Int
    /// Bytes plugged in once the guest goes on from a snapshot, a multiple of 2 MiB.
    public var extraMemory = 0
    /// An ELF `vmlinux`.
    public var kernel: Descriptor
    /// Added to the kernel's command line.
    public var commandLine: String
    /// The guest's root file system, mapped read-only; its size a multiple of 2 MiB.
    public var image: Descriptor?
    /// KVM interprets the guest kernel (host B): complete what its emulator lacks.
    public var softwareKVM: Bool
    /// `/proc/self/pagemap`, opened outside the jail: with it ``Machine/touchedPages()`` tells something of a restored machine.
    public var pagemap: Descriptor?
    /// Pages of the snapshot's memory file that the guest is known to write to at once.
    public var prefault: [PageRun] = []
    /// This VMM's executable: a snapshot is good only for the one that made it.
    public var program: Descriptor?

    public init(
        cpus: Int, memory: Int, kernel: Descriptor, image: Descriptor?, commandLine: String, softwareKVM: Bool, program: Descriptor? = nil
    ) {
        self.cpus = cpus
        possibleCPUs = cpus
        self.memory = memory
        self.kernel = kernel
        self.image = image
        self.commandLine = commandLine
        self.softwareKVM = softwareKVM
        self.program = program
    }

    /// Where the memory is that is plugged in; as many bytes as Linux adds at a time.
    func pluggable() throws -> (guestAddress: UInt64, count: Int)? {
        guard extraMemory > 0 else { return nil }
        let imageBytes = try image.map { Int(try $0.status().st_size) } ?? 0
        let count = Int(MemoryBlocks.usable(UInt64(extraMemory)))
        return (MemoryMap.pluggableAddress(ramBytes: memory, imageBytes: imageBytes), count)
    }

    public static let cpuRange = 1...16
    /// The kernel and its early tables alone take some 40 MiB.
    public static let memoryRange = 48 << 20...1 << 40
}

/// A virtual machine with its devices, from boot to its end.
public final class Machine: Sendable {
    /// The files themselves are let go of: nothing that breaks into this process shall find them open.
    let identity: MachineState.Identity
    let system: System
    let virtualMachine: VirtualMachine
    let vcpus: [VCPU]
    let memory: GuestMemory
    let transports: [MMIOTransport]
    private let image: Mapping?
    private let runners: [VCPURunner]
    private let end: End
    private let gate: Gate
    private let starter: DeviceStarter
    private let statistics: [VCPUStatistics]
    /// The vCPUs' threads while they run.
    private let threads = Mutex<[Thread]>([])
    private let paused = Atomic<Bool>(false)

    /// Builds the machine and loads its kernel; nothing runs yet.
    ///
    /// - Parameter devices: given the guest-physical range of the image, the devices in bus order.
    /// - Parameter serialOutput: what the guest prints with `earlyprintk=serial`.
    public convenience init(
        _ configuration: MachineConfiguration, system: System,
        devices makeDevices: (_ image: (address: UInt64, count: UInt64)?) throws -> [any VirtioDevice],
        serialOutput: @escaping @Sendable (UInt8) -> Void
    ) throws(MachineError) {
        let ram = MemoryMap.ramRanges(configuration.memory)
        let memory = try stage("allocate guest memory") { try GuestMemory.allocate(ram).memory }
        let frame = try MachineFrame(configuration, system: system, memory: memory, devices: makeDevices)

        let kernel = try KernelImage.load(configuration.kernel, into: memory)
        let line = KernelCommandLine.make(
            cpus: configuration.cpus, possibleCPUs: configuration.possibleCPUs, devices: frame.places, rootOnPmem: frame.image != nil, softwareKVM: configuration.softwareKVM,
            extra: configuration.commandLine)
        try stage("write boot tables") {
            try BootParameters(commandLine: line, ram: ram, reserved: frame.reserved, randomSeed: try randomBytes(64)).write(to: memory)
            try MPTable(cpus: configuration.possibleCPUs).write(to: memory)
            try BootState.writeTables(to: memory)
        }

        let supported = try stage("read the CPU's features") { try system.supportedCPUID() }
        let vcpus = try stage("create vCPUs") {
            try (0..<configuration.cpus).map { index in
                let vcpu = try Self.freshVCPU(index, frame, configuration, supported)
                if index == 0 { try BootState.apply(to: vcpu, entry: kernel.entry) }
                return vcpu
            }
        }
        try self.init(frame, vcpus, configuration, system: system, supported: supported, serialOutput: serialOutput)
    }

    /// - Parameter vcpus: ready to run.
    init(
        _ frame: MachineFrame, _ vcpus: [VCPU], _ configuration: MachineConfiguration, system: System, supported: [kvm_cpuid_entry2],
        serialOutput: @escaping @Sendable (UInt8) -> Void
    ) throws(MachineError) {
        let gate = try stage("create the virtual machine") { try Gate(threads: vcpus.count) }
        let end = try stage("create the virtual machine") { try End(gate) }
        let starter = try stage("create the virtual machine") { try DeviceStarter() }
        let memory = frame.memory
        let assist = configuration.softwareKVM ? InstructionAssist(memory: memory, components: XSaveComponents(cpuid: supported)) : nil
        let ports = PortBus(serialOutput: serialOutput)
        let mmio = MMIOBus(frame.transports, starter)
        runners = vcpus.map {
            VCPURunner($0, memory: memory, ports: ports, mmio: mmio, assist: assist, gate: gate, requested: { end.handle($0) })
        }
        identity = try stage("look at the machine's files") { try MachineState.Identity(configuration, supported) }
        self.system = system
        self.gate = gate
        self.starter = starter
        virtualMachine = frame.virtualMachine
        self.vcpus = vcpus
        // Before Linux 5.14 there are none.
        statistics = vcpus.compactMap { try? VCPUStatistics(of: $0, Self.counted) }
        self.memory = memory
        image = frame.image
        transports = frame.transports
        self.end = end
    }

    /// One as firmware would leave it: all but the first wait for the guest to bring them up.
    static func freshVCPU(
        _ index: Int, _ frame: MachineFrame, _ configuration: MachineConfiguration, _ supported: [kvm_cpuid_entry2]
    ) throws -> VCPU {
        let vcpu = try frame.virtualMachine.createVCPU(index)
        try vcpu.setCPUID(CPUID.table(supported, cpu: index, cpus: configuration.possibleCPUs, softwareKVM: configuration.softwareKVM))
        try BootState.configureLocalAPIC(of: vcpu)
        try BootState.configureStateComponents(of: vcpu, cpuid: supported)
        return vcpu
    }

    /// Runs the guest until it ends, on a thread a vCPU; returns when no thread of the machine is left.
    ///
    /// - Parameters:
    ///   - profile: takes the boot CPU's stack a thousand times a second.
    ///   - starting: called when all threads stand ready, right before the guest's first instruction.
    ///   - started: called when the guest runs, and may be paused.
    public func run(profile: Profile? = nil, starting: () throws -> Void = {}, started: () -> Void = {}) throws -> EndReason {
        // The kick only has to interrupt KVM_RUN; by default it would end the process.
        try setEmptyHandler(VCPURunner.kickSignal)
        defer { tearDown() }
        for (index, runner) in runners.enumerated() {
            let thread = try Thread("vcpu \(index)") { [end] in
                // A kick that stays pending would leave the thread in KVM_RUN for ever.
                unblockSignal(VCPURunner.kickSignal)
                let sampling = index == 0 ? profile : nil
                if let reason = runner.run(isStopping: { end.reason != nil }, profile: sampling) { end.set(reason) }
            }
            threads.withLock { $0.append(thread) }
        }
        let sampler = try profile?.start(kicking: { [weak self] in self?.interruptBootCPU() }, while: { [end] in end.reason == nil })
        defer { sampler?.join() }
        try starting()
        gate.open()
        started()
        return end.wait()
    }

    private static let counted: Set = ["exits", "io_exits", "mmio_exits", "halt_exits", "irq_injections", "insn_emulation"]

    /// What KVM has counted so far, all vCPUs together, by its names.
    public var kvmCounters: [(name: String, value: UInt64)] {
        var sums: [String: UInt64] = [:]
        for (name, value) in statistics.flatMap({ (try? $0.values()) ?? [] }) { sums[name, default: 0] &+= value }
        return sums.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// Ends the machine from outside.
    public func stop() { end.set(.stopped) }

    /// Stops every vCPU between two instructions; returns when none runs. Devices go on with what they were asked.
    public func pause() {
        paused.store(true, ordering: .releasing)
        gate.close {
            for vcpu in vcpus { vcpu.requestExit() }
            threads.withLock { for thread in $0 { thread.interrupt(VCPURunner.kickSignal) } }
        }
    }

    /// Takes ``pause()`` back.
    public func resume() {
        guard end.reason == nil else { return }
        paused.store(false, ordering: .releasing)
        for vcpu in vcpus { vcpu.clearExitRequest() }
        gate.open()
    }

    /// Between ``pause()`` and ``resume()``.
    public var isPaused: Bool { paused.load(ordering: .acquiring) }

    var hasEnded: Bool { end.reason != nil }

    private func interruptBootCPU() {
        threads.withLock { $0.first?.interrupt(VCPURunner.kickSignal) }
    }

    private func tearDown() {
        // Also on the way out of a start that failed: threads wait at the gate then.
        end.set(.stopped)
        for vcpu in vcpus { vcpu.requestExit() }
        let threads = threads.withLock { threads in
            defer { threads = [] }
            return threads
        }
        for thread in threads {
            thread.interrupt(VCPURunner.kickSignal)
            thread.join()
        }
        starter.stop()
        for transport in transports { transport.shutdown() }
    }
}

/// The first reason to end, and whoever waits for it.
private final class End: Sendable {
    private struct State {
        var reason: EndReason?
        var panicked = false
    }

    private let state = Mutex(State())
    private let event: EventDescriptor
    private let gate: Gate

    init(_ gate: Gate) throws(SystemError) {
        event = try EventDescriptor(nonBlocking: false)
        self.gate = gate
    }

    var reason: EndReason? { state.withLock { $0.reason } }

    func set(_ reason: EndReason) {
        let first = state.withLock { state in
            guard state.reason == nil else { return false }
            state.reason = reason
            return true
        }
        guard first else { return }
        gate.remove()
        event.signal()
    }

    /// A panicking kernel reports and then resets; the report decides what the reset meant.
    func handle(_ request: PortBus.Request) {
        switch request {
        case .panicked: state.withLock { $0.panicked = true }
        case .reset: set(state.withLock { $0.panicked } ? .guestPanic : .reset)
        case .powerOff: set(.powerOff)
        }
    }

    func wait() -> EndReason {
        event.drain()
        return reason ?? .error("the machine ended without a reason")
    }
}
