extension Validation {
    mutating func check(_ seccomp: LinuxSeccomp) {
        let field = "linux.seccomp"
        checkErrno(seccomp.defaultErrnoRet, seccomp.defaultAction, at: "\(field).defaultErrnoRet")
        for (index, rule) in seccomp.syscalls.enumerated() {
            let field = "\(field).syscalls[\(index)]"
            if rule.names.isEmpty { error("\(field).names", "empty") }
            checkErrno(rule.errnoRet, rule.action, at: "\(field).errnoRet")
            for (place, argument) in rule.args.enumerated() {
                if argument.index > 5 { error("\(field).args[\(place)].index", "\(argument.index) is out of range 0...5") }
            }
        }
    }

    /// config-linux.md: "If the action doesn't support errno codes, the runtime MUST print and error and fail."
    private mutating func checkErrno(_ value: UInt32?, _ action: LinuxSeccompAction, at field: String) {
        guard let value else { return }
        if action != .errno && action != .trace { return error(field, "\(action.rawValue) returns no error number") }
        // MAX_ERRNO of linux/err.h; SCMP_ACT_TRACE has 16 bits.
        let limit: UInt32 = action == .errno ? 4095 : 65535
        if value > limit { error(field, "\(value) is over \(limit)") }
    }
}
