import CLinux
import Glibc

/// Writes out what file systems hold back. May take as long as the slowest of them.
public func syncFileSystems() {
    sync()
}

/// Switches the machine off. Returns only if the kernel cannot.
public func powerOffMachine() {
    // linux/reboot.h: LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF.
    _ = clinux_syscall(Int(SYS_reboot), 0xfee1_dead, 672_274_793, 0x4321_fedc, 0, 0, 0)
}

/// Sets `CLOCK_REALTIME` to `nanoseconds` since the epoch.
public func setWallClock(_ nanoseconds: Int64) throws(SystemError) {
    let (seconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
    var time = timespec(tv_sec: Int(rest < 0 ? seconds - 1 : seconds), tv_nsec: Int(rest < 0 ? rest + 1_000_000_000 : rest))
    try check(unsafe clock_settime(CLOCK_REALTIME, &time), "set clock")
}

/// Mixes `seed` into the kernel's random generator, counted as entropy, and makes it start anew from it.
public func reseedRandom(_ seed: [UInt8]) throws(SystemError) {
    let device = try Descriptor.open("/dev/urandom", O_RDWR)
    // struct rand_pool_info: entropy_count (bits), buf_size, buf.
    var information: [UInt8] = []
    for value in [UInt32(truncatingIfNeeded: seed.count * 8), UInt32(truncatingIfNeeded: seed.count)] {
        information += (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    information += seed
    // RNDADDENTROPY, RNDRESEEDCRNG (linux/random.h).
    try check(unsafe information.withUnsafeBytes { clinux_ioctl(device.raw, 0x4008_5203, UInt(bitPattern: $0.baseAddress)) }, "add entropy")
    try check(clinux_ioctl(device.raw, 0x5207, 0), "reseed random generator")
}

/// Brings the loopback interface of the calling thread's network namespace up.
public func bringLoopbackUp() throws(SystemError) {
    let socket = Descriptor(adopting: try check(socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0), "socket"))
    try check(
        unsafe loopbackUpRequest.withUnsafeBytes { clinux_ioctl(socket.raw, UInt(SIOCSIFFLAGS), UInt(bitPattern: $0.baseAddress)) },
        "bring lo up")
}

/// `struct ifreq` for `SIOCSIFFLAGS`: lo, IFF_UP | IFF_RUNNING.
public let loopbackUpRequest: [UInt8] = Array("lo".utf8) + [UInt8](repeating: 0, count: 14) + [0x41, 0] + [UInt8](repeating: 0, count: 22)
