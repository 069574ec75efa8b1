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

    /// Allowed whatever its arguments.
    var isPlain: Bool {
        if case .allow = action { checks.isEmpty } else { false }
    }

    init(_ number: Int32, _ checks: Check..., action: Action = .allow) {
        self.number = number
        self.checks = checks
        self.action = action
    }
}

extension SystemCallFilter {
    /// Allows what `rules` say and ends the process at anything else: another architecture's calls, x32, a call not
    /// listed, or arguments that fail a check. Of several rules for a call the first counts. Checks of pointers are impossible: what they point to may change.
    ///
    /// Short, and with short ways: the kernel translates it for each thread anew, and follows it for each call there is (seccomp_cache_prepare).
    /// A list of comparisons with a verdict each took 1.5 times as long.
    init(_ rules: [SystemCallRule]) {
        var known: Set<Int32> = []
        let rules = rules.filter { known.insert($0.number).inserted }
        var program = [
            Self.load(Data.architecture), Instruction(code: Code.jumpIfEqual, jumpTrue: 1, value: Self.architecture), Self.finish(Verdict.kill),
            Self.load(Data.number),
        ]
        program += rules.filter { !$0.isPlain }.flatMap(Self.block)
        program += Self.find(rules.filter(\.isPlain).map(\.number).sorted()[...], before: 0)
        self.init(program + [Self.finish(Verdict.kill), Self.finish(Verdict.allow)])
    }

    /// Looks for the call among `numbers`, which are sorted, by halves until few are left.
    ///
    /// - Parameter rest: instructions that follow, before the two verdicts at the end: to kill and to allow.
    private static func find(_ numbers: ArraySlice<Int32>, before rest: Int) -> [Instruction] {
        guard numbers.count > comparedInTurn else {
            // Over the other comparisons, the jump behind them, what follows and the kill.
            return numbers.enumerated().map { index, number in jump(Code.jumpIfEqual, number, over: numbers.count - index + rest + 1) }
                + [Instruction(code: Code.jump, value: UInt32(rest))]
        }
        let middle = numbers.startIndex + numbers.count / 2
        let upper = find(numbers[middle...], before: rest)
        let lower = find(numbers[..<middle], before: upper.count + rest)
        return [jump(Code.jumpIfNotBelow, numbers[middle], over: lower.count)] + lower + upper
    }

    /// Past so many instructions, 255 at most, if the call compares so with `number`.
    private static func jump(_ comparison: UInt16, _ number: Int32, over count: Int) -> Instruction {
        Instruction(code: comparison, jumpTrue: UInt8(clamping: count), value: UInt32(bitPattern: number))
    }

    private static let comparedInTurn = 6

    /// What a rule says, and nothing for a call it does not speak of.
    private static func block(_ rule: SystemCallRule) -> [Instruction] {
        var block: [Instruction] = []
        for check in rule.checks {
            switch check {
            case .isOne(let values, let argument):
                block.append(load(Data.lowHalf(ofArgument: argument)))
                for (index, value) in values.enumerated() {
                    // Over the other values and the kill.
                    block.append(Instruction(code: Code.jumpIfEqual, jumpTrue: UInt8(clamping: values.count - index), value: value))
                }
                block.append(finish(Verdict.kill))
            case .lacks(let bits, let argument):
                block.append(load(Data.lowHalf(ofArgument: argument)))
                block.append(Instruction(code: Code.jumpIfSet, jumpFalse: 1, value: bits))
                block.append(finish(Verdict.kill))
            }
        }
        switch rule.action {
        case .allow: block.append(finish(Verdict.allow))
        case .fail(let error): block.append(finish(Verdict.error | UInt32(truncatingIfNeeded: error.rawValue) & 0xffff))
        }
        return [Instruction(code: Code.jumpIfEqual, jumpFalse: UInt8(clamping: block.count), value: UInt32(bitPattern: rule.number))] + block
    }

    private static func finish(_ value: UInt32) -> Instruction { Instruction(code: Code.finish, value: value) }
    private static func load(_ offset: UInt32) -> Instruction { Instruction(code: Code.load, value: offset) }

    /// AUDIT_ARCH_X86_64.
    private static var architecture: UInt32 { 0xc000_003e }

    /// Operations on 32 bits (linux/bpf_common.h).
    private enum Code {
        static let load: UInt16 = 0x20, jump: UInt16 = 0x05, jumpIfEqual: UInt16 = 0x15, jumpIfNotBelow: UInt16 = 0x35, jumpIfSet: UInt16 = 0x45, finish: UInt16 = 0x06
    }

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
