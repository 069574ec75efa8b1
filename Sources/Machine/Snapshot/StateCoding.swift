import CLinux
import GuestMemory
import KVM
import Linux
import Virtio

/// The parts of a state file, in this order; vCPUs and devices as often as there are any.
enum StateSection: UInt32 {
    case identity = 1
    case machine = 2
    case vcpu = 3
    case device = 4
    case end = 5
    /// After the identity.
    case changes = 6
}

extension StateWriter {
    /// A structure of the kernel's, as ``write(_:)-([UInt8])``.
    mutating func write<Value: BitwiseCopyable>(structure value: Value) { write(PlainStructure.bytes(of: value)) }
}

extension StateReader {
    mutating func readStructure<Value: BitwiseCopyable>(_ type: Value.Type = Value.self) throws(SnapshotError) -> Value {
        guard let value = PlainStructure.value(type, from: try readBytes(limit: MemoryLayout<Value>.size)) else {
            throw SnapshotError("a structure of another length")
        }
        return value
    }
}

// How each part of the state is written and read: the same fields in the same order.

extension FileFingerprint {
    func write(to writer: inout StateWriter) {
        for value in [size, inode, changed, contentHash] { writer.write(value) }
    }

    init(from reader: inout StateReader) throws(SnapshotError) {
        self.init(size: try reader.read(), inode: try reader.read(), changed: try reader.read(), contentHash: try reader.read())
    }
}

extension MachineState.Identity {
    func write(to writer: inout StateWriter) {
        writer.write(cpus)
        writer.write(possibleCPUs)
        writer.write(memory)
        writer.write(extraMemory)
        writer.write(softwareKVM)
        writer.write(commandLine)
        writer.write(cpuFeatures)
        kernel.write(to: &writer)
        for file in [image, program] { writer.write(optional: file) { $1.write(to: &$0) } }
        memoryFile.write(to: &writer)
        writer.write(optional: baseFile) { $1.write(to: &$0) }
    }

    init(from reader: inout StateReader) throws(SnapshotError) {
        let cpus = try reader.read(UInt32.self)
        let possibleCPUs = try reader.read(UInt32.self)
        let range = MachineConfiguration.cpuRange
        guard range.contains(Int(cpus)), range.contains(Int(possibleCPUs)), cpus <= possibleCPUs else {
            throw SnapshotError("\(cpus) of \(possibleCPUs) vCPUs")
        }
        self.init(
            cpus: cpus, possibleCPUs: possibleCPUs, memory: try reader.read(), extraMemory: try reader.read(), softwareKVM: try reader.readBool(), commandLine: try reader.read(),
            cpuFeatures: try reader.read(), kernel: try FileFingerprint(from: &reader),
            image: try reader.readOptional { reader throws(SnapshotError) in try FileFingerprint(from: &reader) },
            program: try reader.readOptional { reader throws(SnapshotError) in try FileFingerprint(from: &reader) },
            memoryFile: try FileFingerprint(from: &reader),
            baseFile: try reader.readOptional { reader throws(SnapshotError) in try FileFingerprint(from: &reader) })
    }
}

extension MachineState {
    /// More than a file of the longest size can say anyway.
    private static let changeLimit = 16 << 20

    static func write(_ changes: [PageRun], to writer: inout StateWriter) {
        writer.write(changes) { writer, run in
            writer.write(run.first)
            writer.write(run.count)
        }
    }

    static func readChanges(from reader: inout StateReader) throws(SnapshotError) -> [PageRun] {
        try reader.readArray(limit: changeLimit) { reader throws(SnapshotError) in PageRun(first: try reader.read(), count: try reader.read()) }
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
    /// The file server's is the longest: some hundred bytes for each file a guest knows.
    private static let stateLimit = 128 << 20
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
