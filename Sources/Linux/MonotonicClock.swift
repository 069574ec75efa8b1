import Glibc

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of every deadline and ledger entry.
public func monotonicNanoseconds() -> UInt64 {
    nanoseconds(of: CLOCK_MONOTONIC)
}

/// Nanoseconds of `CLOCK_PROCESS_CPUTIME_ID`: what this process has computed so far.
public func processorNanoseconds() -> UInt64 {
    nanoseconds(of: CLOCK_PROCESS_CPUTIME_ID)
}

/// Nanoseconds of `CLOCK_BOOTTIME`: since the machine began.
public func bootNanoseconds() -> UInt64 {
    nanoseconds(of: CLOCK_BOOTTIME)
}

/// Nanoseconds since the epoch, `CLOCK_REALTIME`.
public func wallClockNanoseconds() -> UInt64 {
    nanoseconds(of: CLOCK_REALTIME)
}

/// How far `CLOCK_BOOTTIME` is ahead of `CLOCK_MONOTONIC`.
func suspendedNanoseconds() -> UInt64 {
    let monotonic = monotonicNanoseconds()
    let boot = bootNanoseconds()
    return boot > monotonic ? boot - monotonic : 0
}

private func nanoseconds(of clock: clockid_t) -> UInt64 {
    var now = timespec()
    unsafe clock_gettime(clock, &now)
    return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
}
