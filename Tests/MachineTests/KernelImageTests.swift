import GuestMemory
import Linux
import Testing

@testable import Machine

@Suite("Kernel image")
struct KernelImageTests {
    private func memory(_ bytes: Int = 4 << 20) throws -> GuestMemory {
        try GuestMemory.allocate([(0, bytes)]).memory
    }

    private func refusal(_ kernel: TestKernel, _ memory: GuestMemory) throws -> String {
        let file = try kernel.file()
        let error = #expect(throws: MachineError.self) { try KernelImage.load(file, into: memory) }
        return error?.description ?? ""
    }

    @Test("segments are loaded where they say and the entry point is kept")
    func loads() throws {
        let memory = try memory()
        let image = try KernelImage.load(try TestKernel([1, 2, 3, 4], memorySize: 64).file(), into: memory)
        #expect(image.entry == TestKernel.address)
        #expect(image.end == TestKernel.address + 64)
        #expect(try memory.slice(TestKernel.address, 5).bytes(count: 5) == [1, 2, 3, 4, 0])
    }

    @Test("whole pages of a segment are the file's until the guest writes, and the rest of it is read")
    func mapped() throws {
        let memory = try memory()
        var kernel = TestKernel([UInt8](repeating: 7, count: 5000), memorySize: 8192, fileOffset: 4096)
        kernel.bytes.insert(contentsOf: [UInt8](repeating: 0, count: 4096 - 120), at: 120)
        let file = try kernel.file()
        _ = try KernelImage.load(file, into: memory)
        #expect(try memory.slice(TestKernel.address, 5001).bytes(count: 5001) == [UInt8](repeating: 7, count: 5000) + [0])
        try memory.slice(TestKernel.address, 1).store(UInt8(8))
        #expect(try file.read(upTo: 1, at: 4096) == [7])
    }

    @Test("a file cut off anywhere is refused as truncated or not an ELF", arguments: [0, 3, 16, 63, 64, 100, 119, 121])
    func truncated(_ length: Int) throws {
        var kernel = TestKernel([UInt8](repeating: 0x90, count: 16))
        kernel.bytes = Array(kernel.bytes.prefix(length))
        let text = try refusal(kernel, memory())
        #expect(text.contains("truncated") || text.contains("ELF"))
    }

    @Test("a bzImage, or anything else, is said not to be an ELF file")
    func notELF() throws {
        var kernel = TestKernel([])
        kernel.bytes = Array("MZ".utf8) + [UInt8](repeating: 0, count: 512)
        #expect(try refusal(kernel, memory()).contains("vmlinux, not a bzImage"))
    }

    @Test("an ELF file for another machine is refused")
    func otherMachine() throws {
        #expect(try refusal(TestKernel([0x90], machine: 183), memory()).contains("x86"))
    }

    @Test("a kernel larger than guest memory says how much it needs")
    func tooLarge() throws {
        #expect(try refusal(TestKernel([0x90], memorySize: 64 << 20), memory()).contains("66 MiB"))
    }

    @Test("sizes that overflow are refused", arguments: [UInt64.max, UInt64.max - 0x10_0000, 1 << 63])
    func overflow(_ size: UInt64) throws {
        #expect(try !refusal(TestKernel([0x90], memorySize: size), memory()).isEmpty)
        #expect(try !refusal(TestKernel([0x90], fileOffset: size), memory()).isEmpty)
    }
}
