import CLinux
import GuestMemory
import KVM
import Linux
import Virtio

/// What a snapshot keeps of a machine beside its memory, and of what it was made.
struct MachineState: Sendable {
    /// What must be the same for the rest to mean anything.
    struct Identity: Equatable, Sendable {
        var cpus: UInt32
        /// As many as it can go on with.
        var possibleCPUs: UInt32
        var memory: UInt64
        /// Bytes that the guest was to plug in.
        var extraMemory: UInt64
        var softwareKVM: Bool
        /// Of the command line given with the configuration.
        var commandLine: UInt64
        /// Of what this host's KVM can give a guest.
        var cpuFeatures: UInt64
        var kernel: FileFingerprint
        var image: FileFingerprint?
        /// The VMM's executable.
        var program: FileFingerprint?
        var memoryFile: FileFingerprint
        /// The memory file that has the pages which are not in this snapshot's.
        var baseFile: FileFingerprint?
    }

    struct Device: Sendable {
        /// As in virtio 1.2, section 5.
        var kind: UInt32
        var transport: TransportState
        /// The device's own.
        var state: [UInt8]
    }

    var identity: Identity
    /// Pages that this snapshot's memory file has, where there is a ``Identity/baseFile``.
    var changes: [PageRun] = []
    var machine: VirtualMachine.State
    var vcpus: [VCPU.State]
    var devices: [Device]
}

/// The state file: a header, then sections.
///
///     0  8 bytes  "microvmS"
///     8  u32      format version
///     12 u32      zero
///     16 u64      bytes after the header
///     24 u64      XXH64 of them
extension MachineState {
    static let magic: [UInt8] = Array("microvmS".utf8)
    /// Goes up with every change of what is written.
    static let formatVersion: UInt32 = 5
    static let headerSize = 32
    /// Most bytes of a state file.
    static let sizeLimit = 160 << 20

    static func file(_ body: [UInt8]) -> [UInt8] {
        var header = StateWriter()
        header.write(formatVersion)
        header.write(UInt32(0))
        header.write(UInt64(body.count))
        header.write(ContentHash.of(body))
        return magic + header.bytes + body
    }

    /// What comes after the header, if the file is whole and of this version.
    static func body(_ file: [UInt8]) throws(SnapshotError) -> ArraySlice<UInt8> {
        guard file.count >= headerSize, Array(file.prefix(magic.count)) == magic else { throw SnapshotError("this is no state file") }
        var header = StateReader(file[magic.count..<headerSize])
        let version = try header.read(UInt32.self)
        guard version == formatVersion else { throw SnapshotError("format \(version); this VMM reads format \(formatVersion)") }
        guard try header.read(UInt32.self) == 0 else { throw SnapshotError("the header is damaged") }
        let body = file[headerSize...]
        guard try header.read(UInt64.self) == UInt64(body.count) else { throw SnapshotError("the state file is not as long as it was") }
        guard try header.read(UInt64.self) == ContentHash.of(body) else { throw SnapshotError("the state file's checksum is wrong") }
        return body
    }

    // MARK: Writing

    var encoded: [UInt8] {
        var writer = StateWriter()
        writer.section(StateSection.identity) { identity.write(to: &$0) }
        writer.section(StateSection.changes) { Self.write(changes, to: &$0) }
        writer.section(StateSection.machine) { machine.write(to: &$0) }
        for vcpu in vcpus { writer.section(StateSection.vcpu) { vcpu.write(to: &$0) } }
        for device in devices { writer.section(StateSection.device) { device.write(to: &$0) } }
        writer.section(StateSection.end) { _ in }
        return Self.file(writer.bytes)
    }

    // MARK: Reading

    /// - Parameter devices: how many there must be.
    init(_ file: [UInt8], devices count: Int) throws(SnapshotError) {
        var reader = StateReader(try Self.body(file))
        identity = try reader.section(StateSection.identity) { reader throws(SnapshotError) in try Identity(from: &reader) }
        changes = try reader.section(StateSection.changes) { reader throws(SnapshotError) in try Self.readChanges(from: &reader) }
        machine = try reader.section(StateSection.machine) { reader throws(SnapshotError) in try VirtualMachine.State(from: &reader) }
        vcpus = []
        for _ in 0..<identity.cpus {
            vcpus.append(try reader.section(StateSection.vcpu) { reader throws(SnapshotError) in try VCPU.State(from: &reader) })
        }
        devices = []
        for _ in 0..<count {
            devices.append(try reader.section(StateSection.device) { reader throws(SnapshotError) in try Device(from: &reader) })
        }
        try reader.section(StateSection.end) { _ in }
        guard reader.isAtEnd else { throw SnapshotError("there is something after the end") }
    }

    /// The identity, which says whether the rest is worth reading, and what memory is made of.
    static func memory(_ file: [UInt8]) throws(SnapshotError) -> (identity: Identity, changes: [PageRun]) {
        var reader = StateReader(try body(file))
        let identity = try reader.section(StateSection.identity) { reader throws(SnapshotError) in try Identity(from: &reader) }
        return (identity, try reader.section(StateSection.changes) { reader throws(SnapshotError) in try readChanges(from: &reader) })
    }
}
