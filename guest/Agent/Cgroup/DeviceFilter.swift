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

    /// Instructions, 8 bytes each. R2: type, R3: access wanted and not yet decided on, R4: major, R5: minor.
    static func program(_ rules: [LinuxDeviceCgroup]) -> [UInt64] {
        var code: [UInt64] = [
            loadWord(2, from: 1, offset: 0), move(3, from: 2), and(2, 0xffff), shiftRight(3, 16),
            loadWord(4, from: 1, offset: 4), loadWord(5, from: 1, offset: 8),
        ]
        for rule in (rules + defaultRules).reversed() {
            code += block(rule)
            // Nothing behind such a rule can be reached.
            if matchesAll(rule), bits(rule.access) == Bit.all { return code }
        }
        return code + [set(0, 0), exit]
    }

    private static func block(_ rule: LinuxDeviceCgroup) -> [UInt64] {
        let access = Int32(bits(rule.access))
        var verdict: [UInt64]
        if rule.allow {
            // What is allowed here needs no more asking; nothing left: allowed.
            verdict = [and(3, ~access), jumpIfNotEqual(3, 0, over: 2), set(0, 1), exit]
        } else {
            verdict = [move(0, from: 3), and(0, access), jumpIfEqual(0, 0, over: 2), set(0, 0), exit]
        }
        var conditions: [(register: UInt64, value: Int32)] = []
        switch rule.type {
        // BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_DEV_CHAR
        case .block: conditions.append((2, 1))
        case .character: conditions.append((2, 2))
        case .all, nil: break
        }
        if let major = number(rule.major) { conditions.append((4, major)) }
        if let minor = number(rule.minor) { conditions.append((5, minor)) }
        if conditions.isEmpty, rule.allow, access == Int32(Bit.all) { return [set(0, 1), exit] }
        if conditions.isEmpty, !rule.allow, access == Int32(Bit.all) { return [set(0, 0), exit] }
        for condition in conditions.reversed() {
            verdict.insert(jumpIfNotEqual(condition.register, condition.value, over: Int16(verdict.count)), at: 0)
        }
        return verdict
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
    private static func jumpIfEqual(_ register: UInt64, _ value: Int32, over count: Int16) -> UInt64 {
        instruction(0x16, register, 0, offset: count, value)
    }
    private static func jumpIfNotEqual(_ register: UInt64, _ value: Int32, over count: Int16) -> UInt64 {
        instruction(0x56, register, 0, offset: count, value)
    }
    private static let exit = instruction(0x95, 0)
}
