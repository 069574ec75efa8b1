import CLinux
import Glibc

extension Descriptor {
    /// A new file system, mounted nowhere (fsopen(2), fsmount(2)). It goes with the descriptor unless it was attached before.
    ///
    /// - Parameters:
    ///   - source: what mountinfo shows as such.
    ///   - options: the file system's own, `key=value` or a word.
    ///   - attributes: `MOUNT_ATTR_*`.
    public static func mount(newFileSystem type: String, source: String, options: [String], attributes: UInt64) throws(SystemError) -> Descriptor {
        // FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC (linux/mount.h).
        let closeOnExec = 1
        let stage = "mount \(type)"
        let context = Descriptor(
            adopting: try withText(type) { (name) throws(SystemError) in
                Int32(truncatingIfNeeded: try systemCall(stage, SYS_fsopen, name, closeOnExec))
            })
        try context.configure(stage, "source", source)
        for option in options {
            let parts = option.split(separator: "=", maxSplits: 1).map(String.init)
            try context.configure(stage, parts.first ?? "", parts.count == 2 ? parts[1] : nil)
        }
        // FSCONFIG_CMD_CREATE
        _ = try systemCall(stage, SYS_fsconfig, Int(context.raw), 6, 0, 0, 0)
        return Descriptor(
            adopting: Int32(truncatingIfNeeded: try systemCall(stage, SYS_fsmount, Int(context.raw), closeOnExec, Int(truncatingIfNeeded: attributes))))
    }

    private func configure(_ stage: String, _ key: String, _ value: String?) throws(SystemError) {
        // FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING
        let command = value == nil ? 0 : 1
        _ = try withText(key) { (key) throws(SystemError) in
            guard let value else { return try systemCall(stage, SYS_fsconfig, Int(raw), command, key, 0, 0) }
            return try withText(value) { (value) throws(SystemError) in
                try systemCall(stage, SYS_fsconfig, Int(raw), command, key, value, 0)
            }
        }
    }
}

/// The address of a NUL-terminated copy of `text` as a system call's argument, for the length of `body`.
private func withText<Value>(_ text: String, _ body: (Int) throws(SystemError) -> Value) throws(SystemError) -> Value {
    let outcome = unsafe text.withCString { address in
        Result { () throws(SystemError) -> Value in try body(Int(bitPattern: address)) }
    }
    return try outcome.get()
}
