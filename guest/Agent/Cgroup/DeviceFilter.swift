import OCI

/// The device list of a spec as BPF (linux/bpf.h, `BPF_PROG_TYPE_CGROUP_DEVICE`).
///
/// The last rule that speaks of a device and a kind of access decides on it. Nothing is allowed but what a rule
/// allows, and what every container has (config-linux.md, Default Devices; runc's list).
enum DeviceFilter {
    /// runc's `AllowedDevices`: making nodes is harmless, these devices are everybody's.
    static let defaultRules: [LinuxDeviceCgroup] = [
        LinuxDeviceCgroup(allow: true, type: .character, access: "m"),
        LinuxDeviceCgroup(allow: true, type: .block, access: "m"),
        LinuxDeviceCgroup(allow: true, type: .character, major: 1, minor: 3),
        LinuxDeviceCgroup(allow: true, type: .character, major: 1, minor: 5),
        LinuxDeviceCgroup(allow: true, type: .character, major: 1, minor: 7),
        LinuxDeviceCgroup(allow: true, type: .character, major: 1, minor: 8),
        LinuxDeviceCgroup(allow: true, type: .character, major: 1, minor: 9),
        LinuxDeviceCgroup(allow: true, type: .character, major: 5, minor: 0),
        LinuxDeviceCgroup(allow: true, type: .character, major: 5, minor: 2),
        LinuxDeviceCgroup(allow: true, type: .character, major: 136),
    ]

    private enum Bit { static let mknod: UInt8 = 1, read: UInt8 = 2, write: UInt8 = 4, all: UInt8 = 7 }

    /// Whether the list of a spec lets everything pass, so that no filter is needed.
    static func allowsEverything(_ rules: [LinuxDeviceCgroup]) -> Bool {
        guard let last = rules.last else { return false }
        return last.allow && matchesAll(last) && bits(last.access) == Bit.all
    }

    /// Instructions, 8 bytes each.
    ///
    /// Few and with few branches, because the kernel follows them all when it is loaded: rules for all access end
    /// the program when they match, those of one type and major number share its tests.
    static func program(_ rules: [LinuxDeviceCgroup]) -> [UInt64] {
        var code = Code()
        var rest = (rules + defaultRules).map(Rule.init).reversed()[...]
        while let rule = rest.popFirst() {
            if rule.matchesAll, rule.access == Bit.all {
                // Nothing behind such a rule can be reached.
                code.jump(to: rule.allow ? .allow : .deny)
                return code.finished
            }
            if rule.access != Bit.all {
                // Only these two types exist: a rule for each is one for both.
                let both = rest.first.map { rule.differsOnlyInType(from: $0) } ?? false
                if both { rest.removeFirst() }
                code.add(partial: both ? rule.ofAnyType : rule)
                continue
            }
            var group = [rule]
            while let next = rest.first, next.access == Bit.all, rule.canShareTests(with: next) {
                group.append(next)
                rest.removeFirst()
            }
            code.add(complete: group)
        }
        code.jump(to: .deny)
        return code.finished
    }

    /// A rule in the numbers of the kernel.
    private struct Rule {
        let allow: Bool
        /// `BPF_DEVCG_DEV_BLOCK` or `_CHAR`; nil: either.
        var type: Int32?
        let major: Int32?
        let minor: Int32?
        let access: UInt8

        init(_ rule: LinuxDeviceCgroup) {
            allow = rule.allow
            switch rule.type {
            case .block: type = 1
            case .character: type = 2
            case .all, nil: type = nil
            }
            major = number(rule.major)
            minor = number(rule.minor)
            access = bits(rule.access)
        }

        var matchesAll: Bool { type == nil && major == nil && minor == nil }
        var ofAnyType: Rule {
            var rule = self
            rule.type = nil
            return rule
        }

        func differsOnlyInType(from other: Rule) -> Bool {
            guard let type, let otherType = other.type, type != otherType else { return false }
            return allow == other.allow && major == other.major && minor == other.minor && access == other.access
        }

        func canShareTests(with other: Rule) -> Bool {
            major != nil && type == other.type && major == other.major && minor != nil && other.minor != nil
        }
    }

    /// Assembles a program. R2: type, R3: access wanted and not yet decided on, R4: major, R5: minor.
    private struct Code {
        enum Verdict: Int { case deny, allow }

        private var instructions: [UInt64] = [
            loadWord(2, from: 1, offset: 0), move(3, from: 2), and(2, 0xffff), shiftRight(3, 16),
            loadWord(4, from: 1, offset: 4), loadWord(5, from: 1, offset: 8),
        ]
        /// Jumps whose distance is known at the end.
        private var jumps: [(place: Int, verdict: Verdict)] = []

        /// Rules that decide on everything; of one type and major number if there are several.
        mutating func add(complete rules: [Rule]) {
            guard let first = rules.first else { return }
            let tests = test(type: first.type) + test(major: first.major)
            for rule in rules {
                let verdict: Verdict = rule.allow ? .allow : .deny
                if let minor = rule.minor { jump(to: verdict, ifEqual: (5, minor)) } else { jump(to: verdict) }
            }
            skip(tests)
        }

        /// A rule for some kinds of access: what it allows need no longer be asked about.
        mutating func add(partial rule: Rule) {
            let tests = test(type: rule.type) + test(major: rule.major) + test(minor: rule.minor)
            let access = Int32(rule.access)
            if rule.allow {
                instructions.append(and(3, ~access))
                jump(to: .allow, ifEqual: (3, 0))
            } else {
                instructions += [move(0, from: 3), and(0, access)]
                jump(to: .deny, ifNotEqual: (0, 0))
            }
            skip(tests)
        }

        mutating func jump(to verdict: Verdict) {
            jumps.append((instructions.count, verdict))
            instructions.append(jumpAlways)
        }

        private mutating func jump(to verdict: Verdict, ifEqual test: (register: UInt64, value: Int32)) {
            jumps.append((instructions.count, verdict))
            instructions.append(jumpIfEqual(test.register, test.value))
        }

        private mutating func jump(to verdict: Verdict, ifNotEqual test: (register: UInt64, value: Int32)) {
            jumps.append((instructions.count, verdict))
            instructions.append(jumpIfNotEqual(test.register, test.value))
        }

        /// Places of tests that lead past what comes next.
        private mutating func test(type: Int32?) -> [Int] { test(2, type) }
        private mutating func test(major: Int32?) -> [Int] { test(4, major) }
        private mutating func test(minor: Int32?) -> [Int] { test(5, minor) }

        private mutating func test(_ register: UInt64, _ value: Int32?) -> [Int] {
            guard let value else { return [] }
            instructions.append(jumpIfNotEqual(register, value))
            return [instructions.count - 1]
        }

        private mutating func skip(_ tests: [Int]) {
            for place in tests { aim(place, at: instructions.count) }
        }

        private mutating func aim(_ place: Int, at target: Int) {
            instructions[place] |= UInt64(UInt16(truncatingIfNeeded: target - place - 1)) << 16
        }

        /// With the verdicts at the end. A verdict nobody jumps to would be dead code, which the kernel refuses.
        var finished: [UInt64] {
            var code = self
            for verdict in [Verdict.deny, .allow] where jumps.contains(where: { $0.verdict == verdict }) {
                for jump in jumps where jump.verdict == verdict { code.aim(jump.place, at: code.instructions.count) }
                code.instructions += [set(0, Int32(verdict.rawValue)), exit]
            }
            return code.instructions
        }
    }

    private static func matchesAll(_ rule: LinuxDeviceCgroup) -> Bool {
        (rule.type == nil || rule.type == .all) && number(rule.major) == nil && number(rule.minor) == nil
    }

    /// -1 is runc's and podman's "every".
    private static func number(_ value: Int64?) -> Int32? {
        guard let value, value >= 0 else { return nil }
        return Int32(bitPattern: UInt32(truncatingIfNeeded: value))
    }

    private static func bits(_ access: String) -> UInt8 {
        if access.isEmpty { return Bit.all }
        return access.reduce(0) { $0 | ($1 == "m" ? Bit.mknod : $1 == "r" ? Bit.read : $1 == "w" ? Bit.write : 0) }
    }

    // MARK: Instructions: opcode, destination and source register, offset, immediate.

    private static func instruction(
        _ opcode: UInt8, _ destination: UInt64, _ source: UInt64 = 0, offset: Int16 = 0, _ value: Int32 = 0
    ) -> UInt64 {
        UInt64(opcode) | destination << 8 | source << 12 | UInt64(UInt16(bitPattern: offset)) << 16 | UInt64(UInt32(bitPattern: value)) << 32
    }

    private static func loadWord(_ destination: UInt64, from source: UInt64, offset: Int16) -> UInt64 {
        instruction(0x61, destination, source, offset: offset)
    }
    private static func move(_ destination: UInt64, from source: UInt64) -> UInt64 { instruction(0xbc, destination, source) }
    private static func set(_ destination: UInt64, _ value: Int32) -> UInt64 { instruction(0xb4, destination, 0, value) }
    private static func and(_ destination: UInt64, _ value: Int32) -> UInt64 { instruction(0x54, destination, 0, value) }
    private static func shiftRight(_ destination: UInt64, _ value: Int32) -> UInt64 { instruction(0x74, destination, 0, value) }
    private static func jumpIfEqual(_ register: UInt64, _ value: Int32) -> UInt64 { instruction(0x16, register, 0, value) }
    private static func jumpIfNotEqual(_ register: UInt64, _ value: Int32) -> UInt64 { instruction(0x56, register, 0, value) }
    private static let jumpAlways = instruction(0x05, 0)
    private static let exit = instruction(0x95, 0)
}
