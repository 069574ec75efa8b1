import GuestMemory
import KVM
import Linux
import Virtio

extension Machine {
    /// Writes the whole machine to a directory that holds no snapshot yet: every vCPU stands and every device waits
    /// meanwhile, then all go on as if nothing had been, unless ``pause()`` was called before.
    ///
    /// - Throws: with nothing left in the directory.
    public func save(to directory: Descriptor) throws(MachineError) {
        let files = try stage("look at the machine's files") { try fingerprints() }
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
            try SnapshotDirectory(directory).write(memory: { try memory.save(to: $0) }) { memoryFile in
                MachineState(identity: identity(files, memoryFile), machine: machine, vcpus: vcpus, devices: devices).encoded
            }
        }
    }

    private typealias Files = (kernel: FileFingerprint, image: FileFingerprint?, program: FileFingerprint?)

    private func fingerprints() throws -> Files {
        (
            try FileFingerprint(of: configuration.kernel), try configuration.image.map { try FileFingerprint(of: $0) },
            try configuration.program.map { try FileFingerprint(of: $0) }
        )
    }

    private func identity(_ files: Files, _ memoryFile: FileFingerprint) -> MachineState.Identity {
        MachineState.Identity(
            cpus: UInt32(configuration.cpus), memory: UInt64(configuration.memory), softwareKVM: configuration.softwareKVM,
            commandLine: ContentHash.of(Array(configuration.commandLine.utf8)), cpuFeatures: CPUID.featureHash(supportedCPUID),
            kernel: files.kernel, image: files.image, program: files.program, memoryFile: memoryFile)
    }
}
