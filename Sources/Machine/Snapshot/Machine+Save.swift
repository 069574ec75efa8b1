import CLinux
import GuestMemory
import KVM
import Linux
import Virtio

extension Machine {
    /// Writes the whole machine to a directory that holds no snapshot yet: every vCPU stands and every device waits
    /// meanwhile, then all go on as if nothing had been, unless ``pause()`` was called before.
    ///
    /// - Parameter base: a snapshot, itself without a base: only what is not as in its memory is written, and going on takes both.
    /// - Throws: with nothing left in the directory.
    public func save(to directory: Descriptor, since base: Descriptor? = nil) throws(MachineError) {
        let wasPaused = isPaused
        pause()
        defer { if !wasPaused { resume() } }
        // Those that were paused before one failed, too.
        defer { for transport in transports { transport.resume() } }
        try stage("wait for devices") { for transport in transports { try transport.pause() } }
        try stage("save the machine") {
            // A machine that ended never stood still.
            guard !hasEnded else { throw SnapshotError("the machine has ended") }
            let msrs = try system.savedMSRs()
            let machine = try virtualMachine.state()
            let vcpus = try vcpus.map { try $0.state(msrs: msrs) }
            let devices = try transports.map { transport in
                let saved = try transport.savedState()
                return MachineState.Device(kind: transport.device.deviceID, transport: saved.transport, state: saved.device)
            }
            var identity = identity
            let baseMemory = try base.map { try Self.openBase($0, &identity) }
            var changes: [PageRun] = []
            func write(to file: Descriptor) throws -> UInt64 {
                guard let baseMemory else { return try memory.save(to: file) }
                let found = try memory.saveChanges(to: file, since: baseMemory)
                changes = found.runs
                return found.hash
            }
            try SnapshotDirectory(directory).write(memory: write) { memoryFile in
                identity.memoryFile = memoryFile
                return MachineState(identity: identity, changes: changes, machine: machine, vcpus: vcpus, devices: devices).encoded
            }
        }
    }
}

extension Machine {
    private static func openBase(_ directory: Descriptor, _ identity: inout MachineState.Identity) throws -> Descriptor {
        let snapshot = SnapshotDirectory(directory)
        let saved = try MachineState.memory(try snapshot.readState()).identity
        guard saved.baseFile == nil else { throw SnapshotError("the parent has a parent itself") }
        let memory = try snapshot.openMemory()
        guard try saved.memoryFile.matches(memory, GuestMemory.contentHash) else { throw SnapshotError("the parent's memory file is not the one saved with its state") }
        identity.baseFile = try FileFingerprint(of: memory, contentHash: saved.memoryFile.contentHash)
        return memory
    }
}

extension MachineState.Identity {
    /// What a machine is made of, told by its files as they are now; its memory is in none yet.
    init(_ configuration: MachineConfiguration, _ supported: [kvm_cpuid_entry2]) throws {
        self.init(
            cpus: UInt32(configuration.cpus), possibleCPUs: UInt32(configuration.possibleCPUs), memory: UInt64(configuration.memory), extraMemory: UInt64(configuration.extraMemory),
            softwareKVM: configuration.softwareKVM,
            commandLine: ContentHash.of(Array(configuration.commandLine.utf8)), cpuFeatures: CPUID.featureHash(supported),
            kernel: try FileFingerprint(of: configuration.kernel), image: try configuration.image.map { try FileFingerprint(of: $0) },
            program: try configuration.program.map { try FileFingerprint(of: $0) },
            memoryFile: FileFingerprint(size: 0, inode: 0, changed: 0, contentHash: 0))
    }
}
