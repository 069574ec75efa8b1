import CLinux
public import GuestMemory
import KVM
public import Linux
import Virtio

extension Machine {
    /// Makes a machine that goes on where a saved one was. ``run(profile:starting:started:)`` starts it.
    ///
    /// - Parameters:
    ///   - directory: a snapshot. Its memory is mapped, not copied, and never written.
    ///   - base: the snapshot it was saved against; then that one's memory is mapped, and what has changed is read.
    ///   - configuration: what the saved machine was made of; a snapshot of anything else is refused.
    ///   - devices: the same kinds in the same order.
    public convenience init(
        restoring directory: Descriptor, base: Descriptor? = nil, _ configuration: MachineConfiguration, system: System,
        devices makeDevices: (_ image: (address: UInt64, count: UInt64)?) throws -> [any VirtioDevice],
        serialOutput: @escaping @Sendable (UInt8) -> Void
    ) throws(MachineError) {
        let supported = try stage("read the CPU's features") { try system.supportedCPUID() }
        var configuration = configuration
        let (file, memory) = try stage(MachineError.readSnapshot) {
            let snapshot = SnapshotDirectory(directory)
            let file = try snapshot.readState()
            let (identity, changes) = try MachineState.memory(file)
            try identity.check(configuration, supported)
            configuration.possibleCPUs = Int(identity.possibleCPUs)
            let memoryFile = try snapshot.openMemory()
            guard try identity.memoryFile.matches(memoryFile, GuestMemory.contentHash) else {
                throw SnapshotError("the memory file is not the one saved with this state")
            }
            let pluggable = try configuration.pluggable()
            let isNew = identity.extraMemory == 0
            let ranges = MemoryMap.ramRanges(configuration.memory) + (isNew ? [] : pluggable.map { [$0] } ?? [])
            guard let baseFile = identity.baseFile else {
                let mapped = try GuestMemory.map(memoryFile, ranges)
                let memory = try isNew ? pluggable.map { try mapped.adding($0.guestAddress, count: $0.count) } ?? mapped : mapped
                // Without, all that is lost is what it would have told.
                if let pagemap = configuration.pagemap { try? memory.watch(memoryFile, by: pagemap) }
                memory.prefault(configuration.prefault)
                return (file, memory)
            }
            guard let base else { throw SnapshotError("it has a parent, which is not given") }
            let baseMemory = try SnapshotDirectory(base).openMemory()
            guard try baseFile.matches(baseMemory, GuestMemory.contentHash) else { throw SnapshotError("the parent's memory file is not the one it was") }
            let memory = try GuestMemory.map(baseMemory, ranges)
            try memory.apply(changes, from: memoryFile)
            return (file, memory)
        }
        let frame = try MachineFrame(configuration, system: system, memory: memory, devices: makeDevices)
        let state = try stage(MachineError.readSnapshot) {
            let state = try MachineState(file, devices: frame.transports.count)
            for (saved, transport) in zip(state.devices, frame.transports) where saved.kind != transport.device.deviceID {
                throw SnapshotError("a device of kind \(saved.kind) where the \(transport.device.name) device belongs")
            }
            return state
        }
        let vcpus = try stage(MachineError.restoreMachine) {
            let msrs = Set(try system.savedMSRs())
            var vcpus = try state.vcpus.enumerated().map { index, saved in
                let vcpu = try frame.virtualMachine.createVCPU(index)
                try vcpu.restore(saved, msrs: msrs)
                return vcpu
            }
            for index in vcpus.count..<configuration.cpus {
                let vcpu = try Self.freshVCPU(index, frame, configuration, supported)
                try vcpu.setClock(of: state.vcpus[0])
                vcpus.append(vcpu)
            }
            try frame.virtualMachine.restore(state.machine)
            // Refused for a guest without a kvmclock, which then has no watchdog that looks at it either.
            for vcpu in vcpus { try? vcpu.noteGuestPaused() }
            return vcpus
        }
        try self.init(frame, vcpus, configuration, system: system, supported: supported, serialOutput: serialOutput)
        try stage(MachineError.restoreDevices) {
            do {
                for (saved, transport) in zip(state.devices, frame.transports) { try transport.restore(saved.transport, device: saved.state) }
            } catch {
                for transport in frame.transports { transport.shutdown() }
                throw error
            }
        }
    }
}

extension Machine {
    /// The pages of its snapshot's memory file that the machine has touched, few of them it has not; once, and only if they
    /// were watched (``MachineConfiguration/pagemap``).
    public func touchedPages() throws(SystemError) -> [PageRun] { try memory.touchedPages() }

    /// Those it has written to, as long as it has not been asked for the others.
    public func writtenPages() throws(SystemError) -> [PageRun] { try memory.writtenPages() }
}

extension Machine {
    /// Reads a snapshot whole, and holds it against its checksums; a restore reads only what has been touched since it was saved.
    public static func verify(_ directory: Descriptor) throws(MachineError) {
        try stage(MachineError.readSnapshot) {
            let snapshot = SnapshotDirectory(directory)
            let saved = try MachineState.memory(try snapshot.readState()).identity.memoryFile
            let memory = try snapshot.openMemory()
            guard UInt64(clamping: try memory.status().st_size) == saved.size, try GuestMemory.contentHash(of: memory) == saved.contentHash else {
                throw SnapshotError("the memory file's checksum is wrong")
            }
        }
    }
}

extension MachineState.Identity {
    /// - Throws: what is not as it was.
    func check(_ configuration: MachineConfiguration, _ supported: [kvm_cpuid_entry2]) throws {
        guard (Int(cpus)...Int(possibleCPUs)).contains(configuration.cpus) else { throw SnapshotError("it has \(cpus) vCPUs, not \(configuration.cpus)") }
        guard memory == UInt64(configuration.memory) else { throw SnapshotError("it has \(memory) bytes of memory, not \(configuration.memory)") }
        guard extraMemory == 0 && baseFile == nil || extraMemory == UInt64(configuration.extraMemory) else {
            throw SnapshotError("it has \(extraMemory) bytes of memory plugged in, not \(configuration.extraMemory)")
        }
        guard softwareKVM == configuration.softwareKVM else { throw SnapshotError("it was made on another kind of KVM") }
        guard commandLine == ContentHash.of(Array(configuration.commandLine.utf8)) else {
            throw SnapshotError("its kernel had another command line")
        }
        guard cpuFeatures == CPUID.featureHash(supported) else { throw SnapshotError("it was made on another CPU") }
        try Self.check("guest kernel", kernel, configuration.kernel)
        try Self.check("guest image", image, configuration.image)
        try Self.check("VMM", program, configuration.program)
    }

    private static func check(_ name: String, _ saved: FileFingerprint?, _ file: Descriptor?) throws {
        switch (saved, file) {
        case (nil, nil): return
        case (let saved?, let file?) where try saved.isSame(as: file): return
        default: throw SnapshotError("it was made with another \(name)")
        }
    }
}
