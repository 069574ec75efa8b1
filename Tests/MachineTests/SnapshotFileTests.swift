import CLinux
import Glibc
import KVM
import Linux
import Testing
import Virtio

@testable import Machine

/// A snapshot's files may be anything: never a crash, never a machine that is not the one saved.
@Suite("Snapshot files", .enabled(if: hasKVM, "THIS MACHINE HAS NO /dev/kvm: snapshot files are not tested here"), .serialized)
struct SnapshotFileTests {
    private static func devices() -> [any VirtioDevice] { [EntropyDevice()] }

    private let folder: SnapshotFolder
    private let configuration: MachineConfiguration
    private let state: [UInt8]

    /// Saves a machine that does nothing.
    init() throws {
        folder = try SnapshotFolder()
        configuration = try SnapshotMachine.configuration(Code.out(0x3f8, 0x21) + Code.forever)
        let first = try SnapshotMachine(configuration, devices: Self.devices)
        try first.start()
        defer { first.stop() }
        try #require(first.waitForOutput(1))
        try first.machine.save(to: folder.descriptor)
        state = try folder.bytes(SnapshotDirectory.stateName)
    }

    /// Makes a machine of the folder; it does not run.
    private func restore(_ configuration: MachineConfiguration? = nil) throws -> SnapshotMachine {
        try SnapshotMachine(restoring: folder.descriptor, configuration ?? self.configuration, devices: Self.devices)
    }

    private func expectRefusal(_ words: String, _ configuration: MachineConfiguration? = nil, _ location: SourceLocation = #_sourceLocation) {
        #expect(sourceLocation: location) { _ = try restore(configuration) } throws: { error in
            (error as? MachineError)?.isOfSnapshot == true && "\(error)".contains(words)
        }
    }

    @Test("any byte that is not as it was is refused")
    func flips() throws {
        var changed = state
        for position in changed.indices {
            changed[position] ^= 1 << UInt8(position % 8)
            #expect(throws: SnapshotError.self) { _ = try MachineState(changed, devices: 1) }
            changed[position] = state[position]
        }
        for count in stride(from: 0, to: state.count, by: 97) {
            #expect(throws: SnapshotError.self) { _ = try MachineState(Array(state.prefix(count)), devices: 1) }
        }
        #expect(throws: SnapshotError.self) { _ = try MachineState(state + [0], devices: 1) }
        #expect(throws: SnapshotError.self) { _ = try MachineState(state, devices: 0) }
        #expect(throws: SnapshotError.self) { _ = try MachineState(state, devices: 2) }
        _ = try MachineState(state, devices: 1)
    }

    /// A state file with a checksum that is right, whatever it says: made by somebody, not by accident.
    private func forged(_ generator: inout some RandomNumberGenerator) -> [UInt8] {
        var body = Array(state.dropFirst(MachineState.headerSize))
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
            let position = Int.random(in: 0..<body.count, using: &generator)
            switch Int.random(in: 0..<6, using: &generator) {
            case 0: body[position] = UInt8.random(in: 0...255, using: &generator)
            case 1: body[position] = [0, 1, 0x7f, 0x80, 0xff].randomElement(using: &generator) ?? 0
            case 2: for index in position..<min(position + 4, body.count) { body[index] = 0xff }
            case 3: body.removeSubrange(position..<min(position + Int.random(in: 1...64, using: &generator), body.count))
            case 4: body.insert(contentsOf: [UInt8](repeating: 0xff, count: Int.random(in: 1...64, using: &generator)), at: position)
            default: body.swapAt(position, Int.random(in: 0..<body.count, using: &generator))
            }
            if body.isEmpty { body = [0] }
        }
        return MachineState.file(body)
    }

    @Test("a forged state with a right checksum is read or refused, and a machine made of one is made or refused")
    func forgeries() throws {
        var generator = SystemRandomNumberGenerator()
        var readable: [[UInt8]] = []
        for _ in 0..<5_000 {
            let file = forged(&generator)
            if (try? MachineState(file, devices: 1)) != nil { readable.append(file) }
        }
        #expect(!readable.isEmpty)
        for file in readable.prefix(40) {
            try folder.replace(SnapshotDirectory.stateName, with: file)
            // It does not run: a guest's state may be any, as a guest can bring it about.
            if let machine = try? restore() { machine.stop() }
        }
    }

    @Test("a state of another format says which")
    func version() throws {
        var other = state
        other[8] = 200
        try folder.replace(SnapshotDirectory.stateName, with: other)
        expectRefusal("format 200")
    }

    @Test("memory that is cut, longer, changed or another machine's is refused; a copy is not")
    func memory() throws {
        let memory = try folder.bytes(SnapshotDirectory.memoryName)
        try folder.replace(SnapshotDirectory.memoryName, with: memory)
        try restore().stop()
        var changed = memory
        changed[Int(TestKernel.address)] ^= 1
        for other in [Array(memory.dropLast(4096)), memory + [UInt8](repeating: 0, count: 4096), changed, [UInt8](repeating: 0, count: memory.count), []] {
            try folder.replace(SnapshotDirectory.memoryName, with: other)
            expectRefusal("memory")
        }
    }

    @Test("what the machine is made of must be what it was made of")
    func identity() throws {
        var other = configuration
        other.commandLine = "quiet"
        expectRefusal("command line", other)
        other = configuration
        other.cpus = 2
        expectRefusal("vCPUs", other)
        other = configuration
        other.memory = 66 << 20
        expectRefusal("memory", other)
        other = configuration
        other.softwareKVM.toggle()
        expectRefusal("another kind of KVM", other)
        other = configuration
        other.kernel = try TestKernel(Code.powerOff).file()
        expectRefusal("another guest kernel", other)
        other = configuration
        other.program = other.kernel
        expectRefusal("another VMM", other)
        try restore().stop()
    }

    @Test("a disk that fills up is an error; nothing is left in the directory, and the machine goes on")
    func fullDisk() throws {
        let place = "\(folder.path)/full"
        mkdir(place, 0o700)
        try mountFileSystem("tmpfs", on: place, source: "none", data: "size=12k,mode=700")
        defer {
            umount2(place, Int32(MNT_DETACH))
            rmdir(place)
        }
        let directory = try Descriptor.open(place, O_RDONLY | O_DIRECTORY)
        let vmm = try VMMProcess(try TestKernel(Code.out(0x3f8, 0x2e) + [0xeb, 0xf7]).file(), ["--jail"])
        try vmm.expectStarted()
        #expect(try vmm.ask("snapshot", passing: [directory])?.contains("No space left") == true)
        #expect(try directory.entryNames().isEmpty)
        let before = vmm.printed.count
        for _ in 0..<500 where vmm.printed.count == before { usleep(10_000) }
        #expect(vmm.printed.count > before)
        #expect(try vmm.ask("stop") == "ok")
    }

    @Test("a VMM that is killed while it saves leaves a whole snapshot or none")
    func killed() throws {
        let kernel = try TestKernel(Code.out(0x3f8, 0x21) + Code.forever).file()
        for delay in stride(from: UInt32(0), to: 12_000, by: 1_500) {
            let folder = try SnapshotFolder()
            let vmm = try VMMProcess(kernel, ["--jail"])
            try vmm.expectStarted()
            try vmm.control.send(Array("snapshot".utf8), passing: [folder.descriptor])
            usleep(delay)
            vmm.child.kill()
            _ = try vmm.exitCode()
            let isWhole = try folder.descriptor.entryNames().contains(SnapshotDirectory.stateName)
            let next = try VMMProcess(kernel, ["--jail", "--restore-fd", "\(folder.descriptor.raw)"], passing: [folder.descriptor])
            if isWhole {
                try next.expectStarted()
            } else {
                #expect(try next.exitCode() == .exited(8))
            }
        }
    }
}
