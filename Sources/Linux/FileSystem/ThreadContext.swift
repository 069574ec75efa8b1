import CLinux
import Glibc

/// What a thread that serves files for others has of its own: user and group, capabilities, umask (none)
/// and working directory (`/proc/self/fd`). Make it on that thread and use it there only.
///
/// The C library would change the identity of the whole process, hence raw system calls.
public final class ThreadContext {
    /// Whether this thread may act as somebody else: it is root.
    public let canImpersonate: Bool
    private let capabilities: clinux_capabilities
    private var keepsSetID = true

    private static let overrideAccess: UInt64 = 1 << 1  // CAP_DAC_OVERRIDE
    private static let setIDCapability: UInt64 = 1 << 4  // CAP_FSETID

    public init(_ numbers: DescriptorNumbers) throws(SystemError) {
        try check(clinux_thread_own_directory(numbers.directory.raw), "working directory of a thread")
        var capabilities = clinux_capabilities()
        try check(unsafe clinux_capabilities_get(&capabilities), "capget")
        self.capabilities = capabilities
        canImpersonate = geteuid() == 0
        // Files made for somebody must not be of our groups (CVE-2022-0358). Fails when not root: harmless.
        if canImpersonate { _ = clinux_thread_drop_groups() }
    }

    /// Runs `body` as `user` and `group`, so that what it makes belongs to them. When not root, or for root
    /// itself, `body` runs as this process does.
    ///
    /// The guest's kernel has checked its user's permission already, perhaps by supplementary groups not
    /// known here; CAP_DAC_OVERRIDE stays so that the host does not check again.
    public func acting<Value>(
        user: UInt32, group: UInt32, _ body: () throws(SystemError) -> Value
    ) throws(SystemError) -> Value {
        guard canImpersonate, user != 0 || group != 0 else { return try body() }
        try check(clinux_thread_set_group(group), "setresgid")
        defer { comeBack() }
        if user != 0 {
            try check(clinux_thread_set_user(user), "setresuid")
            var few = capabilities
            few.effective = capabilities.permitted & Self.overrideAccess
            _ = clinux_capabilities_set(few)
        }
        return try body()
    }

    /// Runs `body` without CAP_FSETID when `dropping`: a write then clears set-user-ID, set-group-ID and
    /// file capabilities as it would for a user. Stays that way until a call asks otherwise: in a run of
    /// writes only the first costs a system call.
    public func dropSetID(_ dropping: Bool) {
        guard canImpersonate, keepsSetID == dropping else { return }
        keepsSetID = !dropping
        _ = clinux_capabilities_set(effective)
    }

    private var effective: clinux_capabilities {
        var result = capabilities
        if !keepsSetID { result.effective &= ~Self.setIDCapability }
        return result
    }

    /// A thread with somebody else's identity must not serve the next request.
    private func comeBack() {
        guard clinux_thread_set_user(0) == 0, clinux_thread_set_group(0) == 0, clinux_capabilities_set(effective) == 0 else { abort() }
    }
}
