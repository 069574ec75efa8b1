import CLinux
import Glibc
import GuestMemory
import KVM
import Linux
import Synchronization
import Virtio

/// What a machine is made of. Files arrive open: the VMM chooses no path.
public struct MachineConfiguration {
    /// 1…16.
    public var cpus: Int
    /// Guest RAM in bytes, a multiple of 4,096.
    public var memory: Int
    /// An ELF `vmlinux`.
    public var kernel: Descriptor
    /// Added to the kernel's command line.
    public var commandLine: String
    /// The guest's root file system, mapped read-only; its size a multiple of 2 MiB.
    public var image: Descriptor?
    /// KVM interprets the guest kernel (host B): complete what its emulator lacks.
    public var softwareKVM: Bool

    public init(cpus: Int, memory: Int, kernel: Descriptor, image: Descriptor?, commandLine: String, softwareKVM: Bool) {
        self.cpus = cpus
        self.memory = memory
        self.kernel = kernel
        self.image = image
        self.commandLine = commandLine
        self.softwareKVM = softwareKVM
    }

    public static let cpuRange = 1...16
    /// The kernel and its early tables alone take some 40 MiB.
    public static let memoryRange = 48 << 20...1 << 40
}

/// A virtual machine with its devices, from boot to its end.
public final class Machine: Sendable {
    private let virtualMachine: VirtualMachine
    private let vcpus: [VCPU]
    private let memory: GuestMemory
    private let image: Mapping?
    private let transports: [MMIOTransport]
    private let runners: [VCPURunner]
    private let end: End
    private let gate: Gate
    private let starter: DeviceStarter
    /// The vCPUs' threads while they run.
    private let threads = Mutex<[Thread]>([])

    /// Builds the machine and loads its kernel; nothing runs yet.
    ///
    /// - Parameter devices: given the guest-physical range of the image, the devices in bus order.
    /// - Parameter serialOutput: what the guest prints with `earlyprintk=serial`.
    public init(
        _ configuration: MachineConfiguration, system: System,
        devices makeDevices: (_ image: (address: UInt64, count: UInt64)?) throws -> [any VirtioDevice],
        serialOutput: @escaping @Sendable (UInt8) -> Void
    ) throws(MachineError) {
        let virtualMachine = try stage("create the virtual machine") { try system.createVirtualMachine() }
        try stage("set up interrupts") {
            try virtualMachine.setTSSAddress(MemoryMap.tss)
            try virtualMachine.setIdentityMapAddress(MemoryMap.identityMap)
            try virtualMachine.createIRQChip()
            try virtualMachine.createPIT()
        }

        let ram = MemoryMap.ramRanges(configuration.memory)
        let memory = try stage("allocate guest memory") { try GuestMemory.allocate(ram).memory }
        try stage("map guest memory") {
            for (slot, region) in memory.regions.enumerated() {
                try virtualMachine.setMemoryRegion(slot: UInt32(slot), guestAddress: region.guestAddress, mapping: region.mapping)
            }
        }
        let image = try Self.mapImage(configuration, virtualMachine, slot: UInt32(memory.regions.count))
        self.image = image?.mapping

        let devices = try stage("make devices") { try makeDevices(image.map { ($0.address, UInt64($0.mapping.count)) }) }
        let transports = try stage("attach devices") { try devices.map { try MMIOTransport($0, memory: memory) } }
        let placed = try stage("attach devices") { try Self.attach(transports, to: virtualMachine) }

        let kernel = try KernelImage.load(configuration.kernel, into: memory)
        let line = KernelCommandLine.make(
            devices: placed, rootOnPmem: image != nil, softwareKVM: configuration.softwareKVM, extra: configuration.commandLine)
        try stage("write boot tables") {
            try BootParameters(
                commandLine: line, ram: ram, reserved: image.map { [($0.address, UInt64($0.mapping.count))] } ?? [],
                randomSeed: try randomBytes(64)
            ).write(to: memory)
            try MPTable(cpus: configuration.cpus).write(to: memory)
            try BootState.writeTables(to: memory)
        }

        let supported = try stage("read the CPU's features") { try system.supportedCPUID() }
        let vcpus = try stage("create vCPUs") {
            try (0..<configuration.cpus).map { index in
                let vcpu = try virtualMachine.createVCPU(index)
                try vcpu.setCPUID(
                    CPUID.table(supported, cpu: index, cpus: configuration.cpus, softwareKVM: configuration.softwareKVM))
                try BootState.configureLocalAPIC(of: vcpu)
                try BootState.configureStateComponents(of: vcpu, cpuid: supported)
                if index == 0 { try BootState.apply(to: vcpu, entry: kernel.entry) }
                return vcpu
            }
        }

        let gate = try stage("create the virtual machine") { try Gate(threads: configuration.cpus) }
        let end = try stage("create the virtual machine") { try End(gate) }
        let starter = try stage("create the virtual machine") { try DeviceStarter() }
        let assist = configuration.softwareKVM ? InstructionAssist(memory: memory, components: XSaveComponents(cpuid: supported)) : nil
        let ports = PortBus(serialOutput: serialOutput)
        let mmio = MMIOBus(transports, starter)
        runners = vcpus.map {
            VCPURunner($0, memory: memory, ports: ports, mmio: mmio, assist: assist, gate: gate, requested: { end.handle($0) })
        }
        self.gate = gate
        self.starter = starter
        self.virtualMachine = virtualMachine
        self.vcpus = vcpus
        self.memory = memory
        self.transports = transports
        self.end = end
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

    /// Ends the machine from outside.
    public func stop() { end.set(.stopped) }

    /// Stops every vCPU between two instructions; returns when none runs. Devices go on with what they were asked.
    public func pause() {
        gate.close {
            for vcpu in vcpus { vcpu.requestExit() }
            threads.withLock { for thread in $0 { thread.interrupt(VCPURunner.kickSignal) } }
        }
    }

    /// Takes ``pause()`` back.
    public func resume() {
        guard end.reason == nil else { return }
        for vcpu in vcpus { vcpu.clearExitRequest() }
        gate.open()
    }

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

    // MARK: Construction

    private static func mapImage(
        _ configuration: MachineConfiguration, _ virtualMachine: VirtualMachine, slot: UInt32
    ) throws(MachineError) -> (address: UInt64, mapping: Mapping)? {
        guard let file = configuration.image else { return nil }
        return try stage("map guest image") {
            let size = Int(try file.status().st_size)
            guard size > 0, size % (2 << 20) == 0 else {
                throw MachineError("map guest image", "\(size) bytes; it must be a multiple of 2 MiB (scripts/build-guest-image)")
            }
            // Shared and read-only: every machine of a host uses the same page-cache pages.
            let mapping = try Mapping(file, count: size, access: .read, sharing: .shared)
            let address = MemoryMap.imageAddress(ramBytes: configuration.memory)
            try virtualMachine.setMemoryRegion(slot: slot, guestAddress: address, mapping: mapping, readOnly: true)
            return (address, mapping)
        }
    }

    private static func attach(
        _ transports: [MMIOTransport], to virtualMachine: VirtualMachine
    ) throws -> [(address: UInt64, interrupt: UInt32)] {
        var placed: [(address: UInt64, interrupt: UInt32)] = []
        for (index, transport) in transports.enumerated() {
            let address = MemoryMap.mmioStart + UInt64(index) * MemoryMap.mmioStride
            let interrupt = MemoryMap.firstInterrupt + UInt32(index)
            guard interrupt <= MemoryMap.lastInterrupt else { throw MachineError("attach devices", "too many: \(transports.count)") }
            for (queue, event) in transport.notifications.enumerated() {
                try virtualMachine.addIOEvent(event, address: address + MMIOTransport.queueNotifyOffset, value: UInt32(queue))
            }
            try virtualMachine.addIRQEvent(transport.interrupt.event, gsi: interrupt)
            placed.append((address, interrupt))
        }
        return placed
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
