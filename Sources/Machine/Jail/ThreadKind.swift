import CLinux
import Glibc
import Linux

/// What a thread of the VMM is for, and so which system calls and capabilities it gets.
///
/// Threads share memory, so a filter does not hold back who already runs code of his own in one of them for ever; it does
/// take from the threads next to the guest everything that reaches beyond this process.
public enum ThreadKind: CaseIterable, Sendable {
    /// Waits for the machine's end.
    case main
    /// Runs the guest.
    case vcpu
    /// Starts the devices' threads, so it may do whatever those may.
    case starter
    case device
    case sockets
    case network
    case fileServer
    case control

    /// By the name a thread is started with.
    public init(threadName name: String) {
        switch name {
        case _ where name.hasPrefix("vcpu "), "profile": self = .vcpu
        case "devices": self = .starter
        case "vsock": self = .sockets
        case "net": self = .network
        case "fs", "fs-slow": self = .fileServer
        case "control": self = .control
        default: self = .device
        }
    }

    /// What root keeps: acting for the guest's users on shared files needs these, and nothing else does.
    static let fileServerCapabilities: CapabilitySet = [
        .changeOwner, .overrideAccess, .readAndSearch, .fileOwner, .keepSetID, .setGroup, .setUser, .makeNodes, .setFileCapabilities,
    ]

    var capabilities: CapabilitySet {
        switch self {
        case .starter, .fileServer: Self.fileServerCapabilities
        case .main, .vcpu, .device, .sockets, .network, .control: []
        }
    }

    var rules: [SystemCallRule] {
        // Last: where a kind may open files, its own rule comes first, and counts.
        granted + [Self.allocatorPeeks]
    }

    private var granted: [SystemCallRule] {
        switch self {
        case .main: Self.common + Self.devices + Self.messages
        case .vcpu: Self.virtualCPU + Self.common + Self.consoleLog
        case .starter: Self.common + Self.devices + Self.consoleLog + Self.socketCalls + Self.taps + Self.files + Self.threads
        case .device: Self.common + Self.devices + Self.consoleLog
        case .sockets: Self.common + Self.devices + Self.socketCalls
        case .network: Self.common + Self.devices + Self.taps
        case .fileServer: Self.common + Self.devices + Self.files + Self.threads
        case .control: Self.common + Self.messages + Self.shareRoots + Self.snapshots
        }
    }

    // MARK: Lists

    private static func plain(_ numbers: [Int32]) -> [SystemCallRule] { numbers.map { SystemCallRule($0) } }

    private static let executable = UInt32(PROT_EXEC)

    /// What the C library and the Swift runtime need on any thread.
    private static let common: [SystemCallRule] =
        plain([
            SYS_futex, SYS_read, SYS_write, SYS_rt_sigreturn, SYS_munmap, SYS_madvise, SYS_brk, SYS_close, SYS_clock_gettime, SYS_getrandom,
            SYS_sched_yield, SYS_clock_nanosleep, SYS_rt_sigprocmask, SYS_restart_syscall, SYS_getpid, SYS_gettid, SYS_exit, SYS_exit_group,
            SYS_sched_getaffinity, SYS_mremap,
        ]) + [
            SystemCallRule(SYS_mmap, .lacks(executable, argument: 2)),
            SystemCallRule(SYS_mprotect, .lacks(executable, argument: 2)),
            // Kicks of vCPUs, and abort().
            SystemCallRule(SYS_tgkill, .isOne(of: [UInt32(SIGUSR1), UInt32(SIGABRT)], argument: 2)),
        ]

    /// malloc looks into /proc/sys/vm/overcommit_memory when it gives a heap's end back (glibc, arena.c, shrink_heap), and
    /// does without.
    private static let allocatorPeeks = SystemCallRule(SYS_openat, action: .fail(.noSuchFileOrDirectory))

    private static let virtualCPU = [
        SystemCallRule(
            SYS_ioctl,
            .isOne(
                of: [
                    cKVM_RUN, cKVM_GET_REGS, cKVM_SET_REGS, cKVM_GET_SREGS, cKVM_SET_SREGS, cKVM_GET_VCPU_EVENTS, cKVM_SET_VCPU_EVENTS,
                    cKVM_GET_XSAVE, cKVM_SET_XSAVE, cKVM_GET_XCRS,
                ].map { UInt32(truncatingIfNeeded: $0) }, argument: 1))
    ]

    /// An event loop, queues and timers.
    private static let devices: [SystemCallRule] =
        plain([SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_ctl, SYS_epoll_create1, SYS_eventfd2, SYS_readv, SYS_writev]) + setDescriptorFlags

    private static let setDescriptorFlags = [
        SystemCallRule(SYS_fcntl, .isOne(of: [UInt32(F_GETFL), UInt32(F_SETFL), UInt32(F_DUPFD_CLOEXEC)], argument: 1))
    ]

    private static let consoleLog = plain([SYS_pwrite64, SYS_ftruncate, SYS_poll, SYS_ppoll])

    private static let socketCalls: [SystemCallRule] =
        plain([
            SYS_recvfrom, SYS_sendto, SYS_recvmsg, SYS_sendmsg, SYS_accept4, SYS_connect, SYS_shutdown, SYS_getsockopt, SYS_poll, SYS_ppoll,
        ]) + [SystemCallRule(SYS_socket, .isOne(of: [UInt32(AF_UNIX)], argument: 0))]

    private static let taps = [SystemCallRule(SYS_ioctl, .isOne(of: [UInt32(truncatingIfNeeded: Tap.setOffloads)], argument: 1))]

    private static let messages = plain([SYS_recvmsg, SYS_sendmsg])

    /// Looking at what the host shares.
    private static let shareRoots: [SystemCallRule] =
        plain([SYS_statx, SYS_fstat, SYS_newfstatat, SYS_fstatfs, SYS_openat, SYS_geteuid]) + setDescriptorFlags

    /// Reading a machine's state and counters, and writing it to a directory.
    private static let snapshots: [SystemCallRule] =
        plain([SYS_lseek, SYS_pread64, SYS_pwrite64, SYS_ftruncate, SYS_fsync, SYS_unlinkat, SYS_renameat2, SYS_readlinkat, SYS_poll, SYS_ppoll]) + [
            SystemCallRule(
                SYS_ioctl,
                .isOne(
                    of: [
                        cKVM_GET_MSR_INDEX_LIST, cKVM_GET_IRQCHIP, cKVM_GET_PIT2, cKVM_GET_CLOCK, cKVM_GET_MP_STATE, cKVM_GET_CPUID2, cKVM_GET_REGS,
                        cKVM_GET_SREGS, cKVM_GET_XSAVE, cKVM_GET_XCRS, cKVM_GET_DEBUGREGS, cKVM_GET_LAPIC, cKVM_GET_TSC_KHZ, cKVM_GET_MSRS,
                        cKVM_GET_VCPU_EVENTS,
                    ].map { UInt32(truncatingIfNeeded: $0) }, argument: 1))
        ]

    private static let files: [SystemCallRule] =
        plain([
            SYS_openat, SYS_statx, SYS_fstat, SYS_newfstatat, SYS_preadv, SYS_pwritev, SYS_pread64, SYS_pwrite64, SYS_lseek,
            SYS_getdents64, SYS_readlinkat, SYS_fstatfs, SYS_ftruncate, SYS_fallocate, SYS_fsync, SYS_fdatasync, SYS_syncfs, SYS_copy_file_range,
            SYS_mkdirat, SYS_mknodat, SYS_symlinkat, SYS_linkat, SYS_unlinkat, SYS_fchownat, SYS_fchown, SYS_fchmodat, SYS_fchmod,
            // The C library takes the older one when there are no flags.
            SYS_renameat, SYS_renameat2,
            SYS_utimensat, SYS_getxattr, SYS_setxattr, SYS_listxattr, SYS_removexattr, SYS_setresuid, SYS_setresgid, SYS_setgroups, SYS_geteuid,
            SYS_umask, SYS_fchdir, SYS_flock,
        ]) + [SystemCallRule(SYS_unshare, .isOne(of: [UInt32(CLONE_FS)], argument: 0))]

    /// Making a thread, and confining it.
    private static let threads: [SystemCallRule] =
        plain([SYS_set_robust_list, SYS_rseq, SYS_capget, SYS_capset, SYS_seccomp]) + [
            // Its flags are out of a filter's sight; the C library falls back to clone.
            SystemCallRule(SYS_clone3, action: .fail(.noFunction)),
            SystemCallRule(SYS_clone, .isOne(of: [threadFlags], argument: 0)),
            SystemCallRule(SYS_prctl, .isOne(of: [UInt32(PR_SET_NAME)], argument: 0)),
        ]

    /// What pthread_create asks of clone (glibc, sysdeps/unix/sysv/linux/createthread.c).
    private static let threadFlags = UInt32(
        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS | CLONE_PARENT_SETTID
            | CLONE_CHILD_CLEARTID)
}
