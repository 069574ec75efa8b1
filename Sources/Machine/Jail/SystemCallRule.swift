import Linux

/// What a thread may do with one system call.
struct SystemCallRule: Sendable {
    enum Check: Sendable {
        /// The argument's low 32 bits are one of these.
        case isOne(of: [UInt32], argument: Int)
        /// The argument has none of these bits set.
        case lacks(UInt32, argument: Int)
    }

    enum Action: Sendable {
        case allow
        /// Not done; the caller gets this error.
        case fail(Errno)
    }

    let number: Int32
    var checks: [Check] = []
    var action = Action.allow

    init(_ number: Int32, _ checks: Check..., action: Action = .allow) {
        self.number = number
        self.checks = checks
        self.action = action
    }
}

extension SystemCallFilter {
    /// Allows what `rules` say and ends the process at anything else: another architecture's calls, x32, a call not
    /// listed, or arguments that fail a check. Checks of pointers are impossible: what they point to may change.
    init(_ rules: [SystemCallRule]) {
        typealias Code = (load: UInt16, jumpIfEqual: UInt16, jumpIfSet: UInt16, finish: UInt16)
        let code: Code = (load: 0x20, jumpIfEqual: 0x15, jumpIfSet: 0x45, finish: 0x06)
        func finish(_ value: UInt32) -> Instruction { Instruction(code: code.finish, value: value) }
        func load(_ offset: UInt32) -> Instruction { Instruction(code: code.load, value: offset) }

        var program = [
            load(Data.architecture), Instruction(code: code.jumpIfEqual, jumpTrue: 1, value: Self.architecture), finish(Verdict.kill),
            load(Data.number),
        ]
        for rule in rules {
            var block: [Instruction] = []
            for check in rule.checks {
                switch check {
                case .isOne(let values, let argument):
                    block.append(load(Data.lowHalf(ofArgument: argument)))
                    for (index, value) in values.enumerated() {
                        // Over the other values and the kill.
                        block.append(Instruction(code: code.jumpIfEqual, jumpTrue: UInt8(clamping: values.count - index), value: value))
                    }
                    block.append(finish(Verdict.kill))
                case .lacks(let bits, let argument):
                    block.append(load(Data.lowHalf(ofArgument: argument)))
                    block.append(Instruction(code: code.jumpIfSet, jumpFalse: 1, value: bits))
                    block.append(finish(Verdict.kill))
                }
            }
            switch rule.action {
            case .allow: block.append(finish(Verdict.allow))
            case .fail(let error): block.append(finish(Verdict.error | UInt32(truncatingIfNeeded: error.rawValue) & 0xffff))
            }
            program.append(
                Instruction(code: code.jumpIfEqual, jumpFalse: UInt8(clamping: block.count), value: UInt32(bitPattern: rule.number)))
            program += block
        }
        program.append(finish(Verdict.kill))
        self.init(program)
    }

    /// AUDIT_ARCH_X86_64.
    private static var architecture: UInt32 { 0xc000_003e }

    /// Offsets in `struct seccomp_data`.
    private enum Data {
        static let number: UInt32 = 0
        static let architecture: UInt32 = 4
        static func lowHalf(ofArgument index: Int) -> UInt32 { 16 + 8 * UInt32(truncatingIfNeeded: index) }
    }

    private enum Verdict {
        static let kill: UInt32 = 0x8000_0000  // SECCOMP_RET_KILL_PROCESS
        static let allow: UInt32 = 0x7fff_0000  // SECCOMP_RET_ALLOW
        static let error: UInt32 = 0x0005_0000  // SECCOMP_RET_ERRNO
    }
}
