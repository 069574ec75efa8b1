import CLinux
import KVM
import Virtio

// How each part of the state is written and read: the same fields in the same order.

extension FileFingerprint {
    func write(to writer: inout StateWriter) {
        for value in [size, inode, changed, contentHash] { writer.write(value) }
    }

    init(from reader: inout StateReader) throws(SnapshotError) {
        self.init(size: try reader.read(), inode: try reader.read(), changed: try reader.read(), contentHash: try reader.read())
    }

    static func write(_ fingerprint: FileFingerprint?, to writer: inout StateWriter) {
        writer.write(fingerprint != nil)
        fingerprint?.write(to: &writer)
    }

    static func readOptional(from reader: inout StateReader) throws(SnapshotError) -> FileFingerprint? {
        try reader.readBool() ? try FileFingerprint(from: &reader) : nil
    }
}

extension MachineState.Identity {
    func write(to writer: inout StateWriter) {
        writer.write(cpus)
        writer.write(memory)
        writer.write(softwareKVM)
        writer.write(commandLine)
        writer.write(cpuFeatures)
        kernel.write(to: &writer)
        FileFingerprint.write(image, to: &writer)
        FileFingerprint.write(program, to: &writer)
        memoryFile.write(to: &writer)
    }

    init(from reader: inout StateReader) throws(SnapshotError) {
        let cpus = try reader.read(UInt32.self)
        guard MachineConfiguration.cpuRange.contains(Int(cpus)) else { throw SnapshotError("\(cpus) vCPUs") }
        self.init(
            cpus: cpus, memory: try reader.read(), softwareKVM: try reader.readBool(), commandLine: try reader.read(),
            cpuFeatures: try reader.read(), kernel: try FileFingerprint(from: &reader), image: try FileFingerprint.readOptional(from: &reader),
            program: try FileFingerprint.readOptional(from: &reader), memoryFile: try FileFingerprint(from: &reader))
    }
}

extension VirtualMachine.State {
    func write(to writer: inout StateWriter) {
        for chip in interruptControllers { writer.write(chip) }
        writer.write(structure: timer)
        writer.write(clock)
    }

    init(from reader: inout StateReader) throws(SnapshotError) {
        var chips: [[UInt8]] = []
        for _ in Self.chips { chips.append(try reader.readBytes(count: Self.chipSize)) }
        self.init(interruptControllers: chips, timer: try reader.readStructure(), clock: try reader.read())
    }
}

extension VCPU.State {
    private enum Size {
        static let xsave = 4096
        static let localAPIC = 1024
        static let msrs = 1024
    }

    func write(to writer: inout StateWriter) {
        writer.write(cpuid) { $0.write(structure: $1) }
        writer.write(multiprocessingState)
        writer.write(structure: registers)
        writer.write(structure: specialRegisters)
        writer.write(xsave)
        writer.write(xcr0)
        writer.write(structure: debugRegisters)
        writer.write(localAPIC)
        writer.write(tscFrequency)
        writer.write(msrs) {
            $0.write($1.index)
            $0.write($1.value)
        }
        writer.write(structure: events)
    }

    init(from reader: inout StateReader) throws(SnapshotError) {
        self.init(
            cpuid: try reader.readArray(limit: Int(CKVM_MAX_CPUID_ENTRIES)) { reader throws(SnapshotError) in try reader.readStructure() },
            multiprocessingState: try reader.read(), registers: try reader.readStructure(), specialRegisters: try reader.readStructure(),
            xsave: try reader.readBytes(count: Size.xsave), xcr0: try reader.read(), debugRegisters: try reader.readStructure(),
            localAPIC: try reader.readBytes(count: Size.localAPIC), tscFrequency: try reader.read(),
            msrs: try reader.readArray(limit: Size.msrs) { reader throws(SnapshotError) in (try reader.read(), try reader.read()) },
            events: try reader.readStructure())
    }
}

extension MachineState.Device {
    /// The file server's is the longest.
    private static let stateLimit = 4 << 20
    private static let queueLimit = 64

    func write(to writer: inout StateWriter) {
        writer.write(kind)
        writer.write(transport.status)
        for value in [transport.deviceFeaturesSelector, transport.driverFeaturesSelector, transport.queueSelector] { writer.write(value) }
        writer.write(transport.driverFeatures)
        writer.write(transport.configurationGeneration)
        writer.write(transport.pendingInterrupts)
        writer.write(transport.isBroken)
        writer.write(transport.queues) { writer, queue in
            writer.write(queue.configuration.size)
            writer.write(queue.configuration.descriptorTable)
            writer.write(queue.configuration.availableRing)
            writer.write(queue.configuration.usedRing)
            writer.write(queue.isReady)
            for index in [queue.position.nextAvailable, queue.position.nextUsed, queue.position.signalledUsed] { writer.write(index) }
        }
        writer.write(state)
    }

    init(from reader: inout StateReader) throws(SnapshotError) {
        kind = try reader.read()
        transport = TransportState(
            status: try reader.read(), deviceFeaturesSelector: try reader.read(), driverFeaturesSelector: try reader.read(),
            queueSelector: try reader.read(), driverFeatures: try reader.read(), configurationGeneration: try reader.read(),
            pendingInterrupts: try reader.read(), isBroken: try reader.readBool(),
            queues: try reader.readArray(limit: Self.queueLimit) { reader throws(SnapshotError) in
                QueueState(
                    configuration: QueueConfiguration(
                        size: try reader.read(), descriptorTable: try reader.read(), availableRing: try reader.read(), usedRing: try reader.read()),
                    isReady: try reader.readBool(),
                    position: QueuePosition(nextAvailable: try reader.read(), nextUsed: try reader.read(), signalledUsed: try reader.read()))
            })
        state = try reader.readBytes(limit: Self.stateLimit)
    }
}
