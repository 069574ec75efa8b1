import Testing

@testable import Machine

@Suite("Instruction decoder")
struct InstructionTests {
    @Test("the instructions the emulator lacks are recognised with their lengths")
    func recognised() throws {
        let cases: [([UInt8], Instruction.Operation, Int)] = [
            ([0xcc], .breakpoint, 1),
            ([0x9b], .wait, 1),
            ([0x48, 0x0f, 0xae, 0x27], .xsave, 4),  // xsave64 [rdi]
            ([0x48, 0x0f, 0xae, 0x2f], .xrstor, 4),  // xrstor64 [rdi]
            ([0x0f, 0xae, 0x67, 0x40], .xsave, 4),  // xsave [rdi+0x40]
            ([0x48, 0x0f, 0xae, 0xa7, 0, 1, 0, 0], .xsave, 8),  // xsave64 [rdi+0x100]
            ([0x49, 0x0f, 0xae, 0x64, 0x24, 0x40], .xsave, 6),  // xsave64 [r12+0x40]
            ([0xf3, 0x48, 0x0f, 0xb8, 0xc7], .popcnt, 5),  // popcnt rax, rdi
            ([0x0f, 0x01, 0xd0], .xgetbv, 3),
            ([0x65, 0x48, 0x0f, 0xae, 0x25, 1, 0, 0, 0], .xsave, 9),  // xsave64 gs:[rip+1]
        ]
        for (bytes, operation, length) in cases {
            let instruction = try #require(Instruction(bytes + [0x90, 0x90]))
            #expect(instruction.operation == operation)
            #expect(instruction.length == length)
        }
    }

    @Test("memory operands keep base, index, scale, displacement and segment")
    func operands() throws {
        // xsave64 gs:[r12 + r13*8 - 8]
        let instruction = try #require(Instruction([0x65, 0x4b, 0x0f, 0xae, 0x64, 0xec, 0xf8]))
        #expect(instruction.operand == .memory(.init(segment: .gs, base: 12, index: 13, scale: 8, displacement: -8)))
        let relative = try #require(Instruction([0x48, 0x0f, 0xae, 0x25, 0xfc, 0xff, 0xff, 0xff]))
        #expect(relative.operand == .memory(.init(displacement: -4, relativeToRIP: true)))
        // xsave64 [disp32], no base, no index
        let absolute = try #require(Instruction([0x48, 0x0f, 0xae, 0x24, 0x25, 0, 0, 0x20, 0]))
        #expect(absolute.operand == .memory(.init(displacement: 0x20_0000)))
    }

    @Test("an instruction cut off at any byte is not decoded")
    func truncated() {
        let whole: [UInt8] = [0x65, 0x48, 0x0f, 0xae, 0xa4, 0xec, 1, 2, 3, 4]
        #expect(Instruction(whole) != nil)
        for length in 0..<whole.count { #expect(Instruction(Array(whole.prefix(length))) == nil) }
    }

    @Test("other instructions are left alone", arguments: [
        [0x90], [0x0f, 0xae, 0xe8], [0x0f, 0xae, 0x37], [0x0f, 0x0b], [0xf0, 0xf0, 0xf0], [0x0f, 0xb8, 0xc0], [0x40],
    ] as [[UInt8]])
    func others(_ bytes: [UInt8]) {
        #expect(Instruction(bytes + [UInt8](repeating: 0, count: 8)) == nil)
    }

    @Test("no sequence of bytes makes the decoder trap")
    func random() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0...15, using: &generator)).map { _ in UInt8.random(in: 0...255, using: &generator) }
            if let instruction = Instruction(bytes) { #expect(instruction.length <= bytes.count) }
        }
    }
}
