import CSeccomp
import Glibc
import Linux
import OCI

/// A compiled `linux.seccomp`: what seccomp(2) takes.
struct SeccompFilter: Equatable, Sendable {
    /// `struct sock_filter`s, 8 bytes each.
    let code: [UInt8]
    /// `SECCOMP_FILTER_FLAG_*`.
    let flags: UInt32

    /// - Throws: a rule libseccomp does not take.
    init(_ seccomp: LinuxSeccomp) throws(InvalidField) {
        guard let context = seccomp_init(try Self.action(seccomp.defaultAction, seccomp.defaultErrnoRet, at: "defaultAction")) else {
            throw InvalidField("linux.seccomp.defaultAction", "is refused by libseccomp")
        }
        defer { seccomp_release(context) }
        // The runtime's own start must not depend on what a filter says of an unknown architecture.
        for architecture in seccomp.architectures {
            let result = seccomp_arch_add(context, architecture.token)
            if result < 0, result != -EEXIST { throw InvalidField("linux.seccomp.architectures", "\(architecture.rawValue): \(Errno(rawValue: -result))") }
        }
        if seccomp.flags.contains(.log) { seccomp_attr_set(context, SCMP_FLTATR_CTL_LOG, 1) }
        // Cheap lookups for long lists (binary tree); libseccomp 2.5.
        seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2)
        for (index, rule) in seccomp.syscalls.enumerated() {
            try Self.add(rule, to: context, default: seccomp, at: "linux.seccomp.syscalls[\(index)]")
        }
        code = try Self.newerCalls(than: seccomp) + Self.export(context)
        flags = seccomp.flags.reduce(0) { $0 | $1.bit }
    }

    private static func add(
        _ rule: LinuxSyscall, to context: scmp_filter_ctx, default seccomp: LinuxSeccomp, at field: String
    ) throws(InvalidField) {
        let action = try action(rule.action, rule.errnoRet, at: field)
        // libseccomp refuses rules that say what happens anyway.
        if action == (try Self.action(seccomp.defaultAction, seccomp.defaultErrnoRet, at: field)) { return }
        let comparisons = rule.args.map { argument in
            // For a masked comparison the spec's value is the mask and valueTwo the datum, the order libseccomp has.
            scmp_arg_cmp(arg: argument.index, op: argument.op.token, datum_a: argument.value, datum_b: argument.valueTwo ?? 0)
        }
        for name in rule.names {
            let number = seccomp_syscall_resolve_name(name)
            if number == __NR_SCMP_ERROR { continue }
            try add(action, number, comparisons, to: context, at: field)
        }
    }

    private static func add(
        _ action: UInt32, _ number: Int32, _ comparisons: [scmp_arg_cmp], to context: scmp_filter_ctx, at field: String
    ) throws(InvalidField) {
        // Two conditions on one argument cannot stand in one rule; runc makes them alternatives.
        let isRepeated = Set(comparisons.map(\.arg)).count < comparisons.count
        let groups = isRepeated ? comparisons.map { [$0] } : [comparisons]
        for group in groups {
            let result = seccomp_rule_add_array(context, action, number, UInt32(group.count), group)
            if result < 0 { throw InvalidField(field, "\(Errno(rawValue: -result))") }
        }
    }

    /// A filter that refuses what it does not list was written when that was all there is: calls newer than the newest it names do not exist
    /// (`ENOSYS`), as with runc, so that libraries fall back on older ones.
    ///
    /// - Returns: instructions to stand before the filter's own.
    private static func newerCalls(than seccomp: LinuxSeccomp) -> [UInt8] {
        guard ![.allow, .log, .trace].contains(seccomp.defaultAction), seccomp.defaultErrnoRet != UInt32(ENOSYS) else { return [] }
        let newest = seccomp.syscalls.flatMap(\.names).map { seccomp_syscall_resolve_name($0) }.max() ?? -1
        guard newest >= 0 else { return [] }
        let instructions: [(code: UInt16, yes: UInt8, no: UInt8, value: UInt32)] = [
            (loadWord, 0, 0, architectureOffset),
            (jumpIfEqual, 0, 4, architecture),
            (loadWord, 0, 0, 0),
            // The x32 interface counts apart.
            (jumpIfAtLeast, 2, 0, 0x4000_0000),
            (jumpIfGreater, 0, 1, UInt32(newest)),
            (returnValue, 0, 0, 0x0005_0000 | UInt32(ENOSYS)),
        ]
        return instructions.flatMap { instruction in
            [UInt8(truncatingIfNeeded: instruction.code), UInt8(instruction.code >> 8), instruction.yes, instruction.no]
                + (0..<4).map { UInt8(truncatingIfNeeded: instruction.value >> (8 * $0)) }
        }
    }

    // BPF_* of linux/bpf_common.h, `struct seccomp_data`, and AUDIT_ARCH_X86_64.
    private static let (loadWord, jumpIfEqual, jumpIfGreater, jumpIfAtLeast, returnValue): (UInt16, UInt16, UInt16, UInt16, UInt16) = (0x20, 0x15, 0x25, 0x35, 0x06)
    private static let architectureOffset: UInt32 = 4
    private static let architecture: UInt32 = 0xc000_003e

    private static func action(_ action: LinuxSeccompAction, _ value: UInt32?, at field: String) throws(InvalidField) -> UInt32 {
        let errno = (value ?? UInt32(EPERM)) & 0xffff
        switch action {
        // SCMP_ACT_* of seccomp.h are macros with casts.
        case .kill, .killThread: return 0x0000_0000
        case .killProcess: return 0x8000_0000
        case .trap: return 0x0003_0000
        case .errno: return 0x0005_0000 | errno
        case .trace: return 0x7ff0_0000 | (value ?? UInt32(EPERM)) & 0xffff
        case .log: return 0x7ffc_0000
        case .allow: return 0x7fff_0000
        case .notify: throw InvalidField(field, "a listener cannot be had")
        }
    }

    private static func export(_ context: scmp_filter_ctx) throws(InvalidField) -> [UInt8] {
        do throws(SystemError) {
            let file = try makeMemoryFile("seccomp", count: 0)
            let result = seccomp_export_bpf(context, file.raw)
            if result < 0 { throw SystemError("compile filter", Errno(rawValue: -result)) }
            let code = try file.read(upTo: 1 << 20, at: 0)
            // BPF_MAXINSNS
            if code.count > 4096 * 8 { throw SystemError("filter of \(code.count / 8) instructions, 4096 at most", .invalidArgument) }
            return code
        } catch {
            throw InvalidField("linux.seccomp", "\(error)")
        }
    }
}

extension LinuxSeccompOperator {
    fileprivate var token: scmp_compare {
        switch self {
        case .notEqual: SCMP_CMP_NE
        case .lessThan: SCMP_CMP_LT
        case .lessEqual: SCMP_CMP_LE
        case .equalTo: SCMP_CMP_EQ
        case .greaterEqual: SCMP_CMP_GE
        case .greaterThan: SCMP_CMP_GT
        case .maskedEqual: SCMP_CMP_MASKED_EQ
        }
    }
}

extension LinuxSeccompArch {
    /// `SCMP_ARCH_*`, by the name libseccomp knows.
    fileprivate var token: UInt32 {
        let name = rawValue.dropFirst("SCMP_ARCH_".count).lowercased()
        return seccomp_arch_resolve_name(name)
    }
}

extension LinuxSeccompFlag {
    fileprivate var bit: UInt32 {
        switch self {
        case .tsync: 1
        case .log: 2
        case .specAllow: 4
        case .waitKillableRecv: 32
        }
    }
}
