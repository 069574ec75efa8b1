import CLinux
import GuestMemory
import KVM

/// Completes instructions that a software KVM's emulator lacks (hosts.md, host B, point 2).
///
/// It exists only where the host needs it: on a KVM with hardware behind it an emulation failure is an
/// error and stays one. All arithmetic on guest registers wraps, all memory goes through ``GuestMemory``.
struct InstructionAssist: Sendable {
    let memory: GuestMemory
    let components: XSaveComponents

    /// The longest x86 instruction.
    private static let maximumLength = 15

    /// Completes the instruction at RIP.
    ///
    /// - Returns: false, with nothing changed, if it is not one of those the assist knows.
    func complete(on vcpu: VCPU) throws -> Bool {
        do { return try attempt(on: vcpu) } catch let fault as GuestFault {
            try raise(fault, on: vcpu)
            return true
        }
    }

    private func attempt(on vcpu: VCPU) throws -> Bool {
        var context = try Context(vcpu, memory)
        guard let instruction = Instruction(context.fetch(Self.maximumLength)) else { return false }
        let next = context.registers.rip &+ UInt64(instruction.length)
        switch instruction.operation {
        case .breakpoint: try raise(Self.breakpoint, errorCode: nil, on: vcpu)
        case .wait: break
        case .xgetbv:
            // Register 0 is the only one KVM gives a guest.
            guard context.registers.rcx & 0xffff_ffff == 0 else { throw GuestFault.generalProtection }
            let value = try vcpu.xcr0()
            context.registers.rax = value & 0xffff_ffff
            context.registers.rdx = value >> 32
        case .popcnt:
            let value = try context.value(of: instruction, next: next)
            let mask: UInt64 = instruction.operandSize == 8 ? .max : 1 << UInt64(8 * instruction.operandSize) - 1
            let count = UInt64((value & mask).nonzeroBitCount)
            context.registers[instruction.register] = instruction.operandSize == 2 ? context.registers[instruction.register] & ~0xffff | count : count
            // ZF alone says whether the source was zero; CF, OF, SF, AF and PF are cleared.
            context.registers.rflags = context.registers.rflags & ~0x8d5 | (count == 0 ? 0x40 : 0)
        case .xsave, .xrstor:
            guard case .memory(let operand) = instruction.operand else { return false }
            let address = context.address(of: operand, next: next)
            guard address % 64 == 0 else { throw GuestFault.generalProtection }
            let requested = (context.registers.rdx << 32 | context.registers.rax & 0xffff_ffff) & (try vcpu.xcr0())
            if instruction.operation == .xsave {
                try components.save(requested, from: try vcpu.xsave(), to: address, context)
            } else {
                let area = try components.restore(requested, enabled: try vcpu.xcr0(), over: try vcpu.xsave(), from: address, context)
                // KVM refuses what XRSTOR would fault on: reserved bits of MXCSR, which a program can put in a signal frame.
                do { try vcpu.setXSAVE(area) } catch { throw GuestFault.generalProtection }
            }
        }
        context.registers.rip = next
        try vcpu.setRegisters(context.registers)
        return true
    }

    private static let breakpoint: UInt8 = 3
    private static let generalProtection: UInt8 = 13
    private static let pageFault: UInt8 = 14

    private func raise(_ fault: GuestFault, on vcpu: VCPU) throws {
        switch fault {
        case .generalProtection: try raise(Self.generalProtection, errorCode: 0, on: vcpu)
        case .page(let address, let errorCode):
            var special = try vcpu.specialRegisters()
            special.cr2 = address
            try vcpu.setSpecialRegisters(special)
            try raise(Self.pageFault, errorCode: errorCode, on: vcpu)
        }
    }

    private func raise(_ vector: UInt8, errorCode: UInt32?, on vcpu: VCPU) throws {
        var events = try vcpu.events()
        events.exception.injected = 1
        events.exception.nr = vector
        events.exception.has_error_code = errorCode == nil ? 0 : 1
        events.exception.error_code = errorCode ?? 0
        try vcpu.setEvents(events)
    }
}

/// The vCPU's registers and its view of memory while one instruction is completed.
struct Context {
    let vcpu: VCPU
    let memory: GuestMemory
    let special: kvm_sregs
    var registers: kvm_regs

    init(_ vcpu: VCPU, _ memory: GuestMemory) throws {
        self.vcpu = vcpu
        self.memory = memory
        registers = try vcpu.registers()
        special = try vcpu.specialRegisters()
    }

    /// As many bytes at RIP as are mapped, `count` at most.
    func fetch(_ count: Int) -> [UInt8] {
        let inPage = min(count, 4096 - Int(registers.rip & 0xfff))
        guard let first = try? read(registers.rip, inPage) else { return [] }
        return first + ((try? read(registers.rip &+ UInt64(inPage), count - inPage)) ?? [])
    }

    func address(of operand: Instruction.Memory, next: UInt64) -> UInt64 {
        var address = UInt64(bitPattern: operand.displacement)
        if operand.relativeToRIP { address = address &+ next }
        if let base = operand.base { address = address &+ registers[base] }
        if let index = operand.index { address = address &+ registers[index] &* operand.scale }
        switch operand.segment {
        case .flat: return address
        case .fs: return address &+ special.fs.base
        case .gs: return address &+ special.gs.base
        }
    }

    func value(of instruction: Instruction, next: UInt64) throws -> UInt64 {
        switch instruction.operand {
        case .register(let number): registers[number]
        case .memory(let operand):
            try read(address(of: operand, next: next), instruction.operandSize).reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
    }

    func read(_ address: UInt64, _ count: Int) throws -> [UInt8] { try tables.read(address, count) }

    func write(_ bytes: [UInt8], to address: UInt64) throws { try tables.write(bytes, to: address) }

    var tables: PageTables { PageTables(memory: memory, special: special, flags: registers.rflags) }
}

extension kvm_regs {
    /// A general register by its number in ModRM.
    subscript(_ number: Int) -> UInt64 {
        get {
            switch number {
            case 0: rax
            case 1: rcx
            case 2: rdx
            case 3: rbx
            case 4: rsp
            case 5: rbp
            case 6: rsi
            case 7: rdi
            case 8: r8
            case 9: r9
            case 10: r10
            case 11: r11
            case 12: r12
            case 13: r13
            case 14: r14
            default: r15
            }
        }
        set {
            switch number {
            case 0: rax = newValue
            case 1: rcx = newValue
            case 2: rdx = newValue
            case 3: rbx = newValue
            case 4: rsp = newValue
            case 5: rbp = newValue
            case 6: rsi = newValue
            case 7: rdi = newValue
            case 8: r8 = newValue
            case 9: r9 = newValue
            case 10: r10 = newValue
            case 11: r11 = newValue
            case 12: r12 = newValue
            case 13: r13 = newValue
            case 14: r14 = newValue
            default: r15 = newValue
            }
        }
    }
}
