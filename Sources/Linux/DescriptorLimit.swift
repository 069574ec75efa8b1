import Glibc

/// Lets this process open as many files as it may, up to a million: how many that is.
///
/// The soft limit of 1,024 is there for programs that use select(2).
public func raiseDescriptorLimit() -> Int {
    let wanted = rlim_t(1 << 20)
    var limit = rlimit(rlim_cur: wanted, rlim_max: wanted)
    // Raising the hard limit takes CAP_SYS_RESOURCE.
    if unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 { return Int(wanted) }
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
    limit.rlim_cur = limit.rlim_max
    if unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) != 0 {
        _ = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
    return Int(clamping: limit.rlim_cur)
}
