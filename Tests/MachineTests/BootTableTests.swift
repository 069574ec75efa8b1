import GuestMemory
import Testing

@testable import Machine

@Suite("Boot tables")
struct BootTableTests {
    private func sum(_ bytes: some Sequence<UInt8>) -> UInt8 { bytes.reduce(0, &+) }

    @Test("the MP table has valid checksums and an entry for every CPU", arguments: [1, 2, 16])
    func mpTable(_ cpus: Int) throws {
        let memory = try GuestMemory.allocate([(0, 2 << 20)]).memory
        try MPTable(cpus: cpus).write(to: memory)
        let pointer = try memory.slice(MemoryMap.mpTable, 16).bytes(count: 16)
        #expect(pointer.starts(with: Array("_MP_".utf8)))
        #expect(sum(pointer) == 0)
        let header = try memory.slice(MemoryMap.mpTable + 16, 44)
        let length: UInt16 = try header.load(at: 4)
        let table = try memory.slice(MemoryMap.mpTable + 16, UInt64(length)).bytes(count: Int(length))
        #expect(sum(table) == 0)
        #expect(MemoryMap.mpTable + 16 + UInt64(length) <= MemoryMap.conventionalEnd)
        let processors = (0..<cpus).map { table[44 + 20 * $0] }
        #expect(processors.allSatisfy { $0 == 0 })
        let identifiers = (0..<cpus).map { Int(table[45 + 20 * $0]) }
        #expect(identifiers == Array(0..<cpus))
    }

    @Test("the memory map lists all RAM but the MP table, and the image as reserved")
    func memoryMap() throws {
        let memory = try GuestMemory.allocate([(0, 2 << 20)]).memory
        let ram = MemoryMap.ramRanges(5 << 30)
        try BootParameters(commandLine: "quiet", ram: ram, reserved: [(0x2_0000_0000, 2 << 20)], randomSeed: [1, 2, 3]).write(to: memory)
        let page = try memory.slice(MemoryMap.bootParameters, 4096)
        let count: UInt8 = try page.load(at: 0x1e8)
        #expect(count == 5)
        let entries = try (0..<Int(count)).map { index in
            (try page.load(UInt64.self, at: 0x2d0 + 20 * index), try page.load(UInt64.self, at: 0x2d0 + 20 * index + 8),
             try page.load(UInt32.self, at: 0x2d0 + 20 * index + 16))
        }
        let usable = entries.filter { $0.2 == 1 }.reduce(UInt64(0)) { $0 + $1.1 }
        let expected = MemoryMap.mpTable + UInt64(5 << 30) - MemoryMap.highMemory
        #expect(usable == expected)
        #expect(entries.last.map { $0.0 } == 0x2_0000_0000)
        #expect(try memory.slice(MemoryMap.commandLine, 6).bytes(count: 6) == Array("quiet".utf8) + [0])
    }

    @Test("a command line the kernel would cut off is refused")
    func longCommandLine() throws {
        let memory = try GuestMemory.allocate([(0, 2 << 20)]).memory
        let parameters = BootParameters(commandLine: String(repeating: "x", count: 2048), ram: [(0, 2 << 20)], reserved: [], randomSeed: [])
        #expect(throws: MachineError.self) { try parameters.write(to: memory) }
    }

    @Test("interpreted CPUs are brought up one after another, where there are several", arguments: [(1, false), (2, true), (16, true)])
    func bringUp(_ cpus: Int, _ oneAfterAnother: Bool) {
        func words(_ softwareKVM: Bool) -> [Substring] {
            KernelCommandLine.make(cpus: cpus, possibleCPUs: cpus, devices: [], rootOnPmem: true, softwareKVM: softwareKVM, extra: "").split(separator: " ")
        }
        #expect(words(true).contains("cpuhp.parallel=0") == oneAfterAnother)
        #expect(!words(false).contains("cpuhp.parallel=0"))
    }

    @Test("a kernel that is told of more CPUs than there are brings up those that are", arguments: [(1, 1, false), (1, 16, true), (2, 2, false), (2, 4, true)])
    func fewerCPUs(_ cpus: Int, _ possible: Int, _ isSaid: Bool) {
        let line = KernelCommandLine.make(cpus: cpus, possibleCPUs: possible, devices: [], rootOnPmem: true, softwareKVM: false, extra: "")
        #expect(line.split(separator: " ").contains("maxcpus=\(cpus)") == isSaid)
    }

    @Test("one word lists all devices where words cost time; elsewhere any kernel understands them")
    func devices() {
        let places: [(UInt64, UInt32)] = [(0xd000_0000, 5), (0xd000_1000, 6)]
        func words(_ softwareKVM: Bool) -> [Substring] {
            KernelCommandLine.make(cpus: 1, possibleCPUs: 1, devices: places, rootOnPmem: true, softwareKVM: softwareKVM, extra: "").split(separator: " ")
                .filter { $0.hasPrefix("virtio_mmio") }
        }
        #expect(words(true) == ["virtio_mmio.device=4K@0xd0000000:5,4K@0xd0001000:6"])
        #expect(words(false) == ["virtio_mmio.device=4K@0xd0000000:5", "virtio_mmio.device=4K@0xd0001000:6"])
    }

    @Test("where KVM interprets the guest its kernel is told so by the first word, which it reads before all messages; elsewhere not")
    func leanBoot() {
        func line(_ softwareKVM: Bool) -> String {
            KernelCommandLine.make(cpus: 1, possibleCPUs: 1, devices: [], rootOnPmem: true, softwareKVM: softwareKVM, extra: "")
        }
        #expect(line(true).hasPrefix("lean_boot "))
        #expect(!line(false).contains("lean_boot"))
    }

    @Test("RAM is split around the hole, and the image lies above it on a section boundary", arguments: [64 << 20, 3 << 30, 3 << 30 + 4096, 9 << 30])
    func ranges(_ bytes: Int) {
        let ranges = MemoryMap.ramRanges(bytes)
        #expect(ranges.reduce(0) { $0 + $1.count } == bytes)
        let image = MemoryMap.imageAddress(ramBytes: bytes)
        #expect(image % (128 << 20) == 0)
        #expect(ranges.allSatisfy { $0.guestAddress + UInt64($0.count) <= image || $0.guestAddress == 0 })
        #expect(ranges[0].count <= Int(MemoryMap.holeStart))
    }
}
