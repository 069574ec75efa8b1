import CLinux
import Glibc

/// A set of Linux capabilities (capabilities(7)).
public struct CapabilitySet: OptionSet, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    public static let changeOwner = CapabilitySet(rawValue: 1 << 0)
    public static let overrideAccess = CapabilitySet(rawValue: 1 << 1)
    public static let readAndSearch = CapabilitySet(rawValue: 1 << 2)
    public static let fileOwner = CapabilitySet(rawValue: 1 << 3)
    public static let keepSetID = CapabilitySet(rawValue: 1 << 4)
    public static let setGroup = CapabilitySet(rawValue: 1 << 6)
    public static let setUser = CapabilitySet(rawValue: 1 << 7)
    public static let makeNodes = CapabilitySet(rawValue: 1 << 27)
    public static let setFileCapabilities = CapabilitySet(rawValue: 1 << 31)

    /// Numbers a kernel may know; it refuses those it does not.
    private static let numbers: Range<UInt> = 0..<64

    /// Keeps of the calling thread's capabilities only these, for it and all threads it makes.
    public func limitThread() throws(SystemError) {
        var current = clinux_capabilities()
        try check(unsafe clinux_capabilities_get(&current), "read capabilities")
        let kept = current.permitted & rawValue
        try check(clinux_capabilities_set(clinux_capabilities(effective: kept, permitted: kept, inheritable: 0)), "drop capabilities")
    }

    /// As ``limitThread()``, and programs this process executes get no others either. For a process with one thread.
    public func limitProcess() throws(SystemError) {
        // Needs CAP_SETPCAP; without it there is nothing in the bounding set this process could gain either.
        for number in Self.numbers where rawValue >> UInt64(number) & 1 == 0 {
            _ = clinux_prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
        }
        try limitThread()
    }
}

/// From now on no program this process executes gains rights; system call filters need it.
public func setNoNewPrivileges() throws(SystemError) {
    try check(clinux_prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs")
}

/// No core dumps, and no other process of the same user may read this one's memory.
public func hideProcessMemory() throws(SystemError) {
    try setLimit(Int32(RLIMIT_CORE.rawValue), soft: 0, hard: 0)
    try check(clinux_prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "hide memory")
}

/// Ends this process with `SIGKILL` when the thread that started it ends. A change of credentials takes that back, so
/// call it after ``enterNewNamespaces()``.
public func dieWithParent() throws(SystemError) {
    try check(clinux_prctl(PR_SET_PDEATHSIG, UInt(SIGKILL), 0, 0, 0), "set parent-death signal")
}
