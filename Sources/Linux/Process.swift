import CLinux
import Glibc

/// Makes `signal` interrupt blocking system calls of the thread that gets it and do nothing else.
public func setEmptyHandler(_ signal: Int32) throws(SystemError) {
    var action = sigaction()
    action.__sigaction_handler = .init(sa_handler: { _ in })
    try check(unsafe sigaction(signal, &action, nil), "set signal handler")
}

/// Lets `signal` reach the calling thread, which may have inherited a mask that blocks it.
public func unblockSignal(_ signal: Int32) {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    unsafe sigaddset(&set, signal)
    unsafe pthread_sigmask(SIG_UNBLOCK, &set, nil)
}

/// `count` bytes of the kernel's random generator.
public func randomBytes(_ count: Int) throws(SystemError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let got = try checkRetrying("getrandom") { unsafe getrandom(&bytes, count, 0) }
    guard got == count else { throw SystemError("getrandom", .ioError) }
    return bytes
}

/// The file this process runs, as an absolute path.
public func executablePath() throws(SystemError) -> String {
    try readLink("/proc/self/exe")
}

/// The environment this process was started with, as `NAME=value` strings.
public func ownEnvironment() throws(SystemError) -> [String] {
    let bytes = try Descriptor.open("/proc/self/environ", O_RDONLY).readToEnd()
    return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
}

/// Where a symbolic link points.
public func readLink(_ path: String) throws(SystemError) -> String {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = try check(unsafe readlink(path, &buffer, buffer.count), "read link \(path)")
    return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// This process's id.
public func processID() -> Int32 { getpid() }

/// Sends `signal` to a process. `ESRCH`: there is none of that id.
public func sendSignal(_ signal: Int32, to pid: Int32) throws(SystemError) {
    try check(kill(pid, signal), "send signal \(signal) to process \(pid)")
}

/// What a signal means, as runc says it: "bad system call".
public func signalText(_ signal: Int32) -> String {
    unsafe clinux_signal_text(signal).map { unsafe String(cString: $0).lowercased() } ?? "signal \(signal)"
}

/// This process's effective user id.
public func effectiveUserID() -> UInt32 { geteuid() }
public func effectiveGroupID() -> UInt32 { getegid() }

/// This process's supplementary groups.
public func supplementaryGroups() throws(SystemError) -> [UInt32] {
    // NGROUPS_MAX; asking for the number first could race with nothing but ourselves, and costs as much.
    var groups = [gid_t](repeating: 0, count: 65536)
    let count = try check(unsafe getgroups(Int32(groups.count), &groups), "getgroups")
    return Array(groups.prefix(Int(count)))
}

/// Whether this process may execute the file.
public func isExecutable(_ path: String) -> Bool { unsafe access(path, X_OK) == 0 }

/// When this process began, on the clock of ``monotonicNanoseconds()``.
///
/// The kernel tells it in ticks of 10 ms (`/proc/self/stat`, starttime); what this process has computed so far
/// narrows it down.
public func processStartNanoseconds() -> UInt64 {
    let now = monotonicNanoseconds()
    let computed = now &- min(now, processorNanoseconds())
    guard let file = try? Descriptor.open("/proc/self/stat", O_RDONLY), let bytes = try? file.read(upTo: 4096),
        // The second field is in parentheses and may hold anything; starttime is the 22nd.
        let end = bytes.lastIndex(of: UInt8(ascii: ")"))
    else { return computed }
    let fields = bytes[(end + 1)...].split(separator: UInt8(ascii: " "))
    guard fields.count > 19, let ticks = UInt64(String(decoding: fields[19], as: UTF8.self)) else { return computed }
    let tick = UInt64(1_000_000_000 / max(1, sysconf(Int32(_SC_CLK_TCK))))
    // starttime counts on CLOCK_BOOTTIME, which is ahead by the time spent suspended.
    let earliest = ticks &* tick &- min(ticks &* tick, suspendedNanoseconds())
    return min(max(computed, earliest), earliest &+ tick)
}
