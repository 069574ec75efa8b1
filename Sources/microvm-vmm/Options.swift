import FUSE
import GuestMemory
import Linux
import Machine
import Virtio

/// What `microvm` tells its VMM: numbers and inherited descriptors, never a path a tenant chose.
///
/// Parsed here rather than by a library because argument parsers bring Foundation along, and every
/// sandbox has one of these processes in memory.
struct Options {
    var cpus = 1
    var possibleCPUs: Int?
    var memory = 128 << 20
    var extraMemory = 0
    var kernel: Descriptor?
    var image: Descriptor?
    var commandLine = ""
    var control: Descriptor?
    var vsock: Descriptor?
    var vsockPath = ""
    var console: Descriptor?
    var shares: [(name: String, root: Descriptor, mode: ShareMode)] = []
    var directory: Descriptor?
    /// Nil: find out with a probe machine.
    var softwareKVM: Bool?
    var killWithParent = false
    var jail = false
    var profile: Descriptor?
    /// A snapshot to go on from.
    var restore: Descriptor?
    /// Whether it will be asked what of the snapshot's memory the machine has touched.
    var watchMemory = false
    /// What of it the machine is known to write to at once.
    var prefault: [PageRun] = []
    /// The snapshot that one was saved against.
    var base: Descriptor?
    /// A snapshot to read and check, and nothing else.
    var verify: Descriptor?

    static let usage = """
        usage: microvm-vmm --cpus N --memory BYTES --kernel-fd FD [OPTION…]

        Runs one virtual machine; started by microvm, which hands it open files.

          --cpus N             vCPUs, 1 to 16
          --possible-cpus N    as many as a machine restored from this one's snapshot may have (default: as many as it has)
          --memory BYTES       guest RAM
          --extra-memory BYTES with --restore-fd: more RAM, a multiple of 2 MiB, that the guest plugs in when it goes on
          --kernel-fd FD       an ELF vmlinux
          --image-fd FD        the guest's root file system (EROFS), mapped read-only
          --cmdline TEXT       added to the kernel's command line
          --control-fd FD      SOCK_SEQPACKET socket for requests and events; the machine ends when it closes
          --vsock-fd FD        listening Unix socket for host connections (CONNECT PORT)
          --vsock-path PATH    guest connections to host port P go to the Unix socket PATH_P
          --directory-fd FD    the directory PATH is relative to, with nothing but sockets in it
          --share NAME:FD:ro|ro-root|rw[:auto|always[:mapped]]
                               show the guest this directory or file by virtio-fs (tag microvm); may be repeated.
                               ro-root: read-only but for what is mounted below;
                               always: only this guest changes it while it runs; mapped: where KVM interprets the guest kernel, larger
                               files are seen in place, and nobody else may truncate them
          --console-fd FD      where the guest's console is written
          --host-kind KIND     hardware, or software where KVM interprets the guest kernel (default: probe)
          --profile-fd FD      at the end, write the boot CPU's kernel stack, sampled every millisecond: a line each, the monotonic time in
                               nanoseconds and addresses in hexadecimal, the innermost first
          --restore-fd FD      go on from the snapshot in this directory instead of booting; everything else must be as
                               it was given to the machine that was saved, but for sockets, shares and the console
          --watch-memory       with --restore-fd: answer the requests written and, once and last, touched
          --prefault RUNS      with --restore-fd: FIRST+COUNT,… pages of the memory file that the guest is known to write to at once
          --base-fd FD         the snapshot it was saved against, if it was
          --verify-fd FD       only read the snapshot in this directory whole and hold it against its checksums
          --kill-with-parent   die when the parent does
          --jail               give up every right not needed: namespaces, an empty root or DIRECTORY-FD's as root,
                               no capability but the file server's, a system call filter on each thread

        Exit status: 0 guest switched off, 2 usage, 3 error, 4 guest panic, 5 guest reset, 6 triple fault,
        7 not a kernel this machine can load, 8 not a snapshot this machine can restore.
        """

    struct UsageError: Error, CustomStringConvertible {
        let description: String
    }

    init(_ arguments: [String]) throws {
        var rest = arguments[...]
        while let flag = rest.popFirst() {
            switch flag {
            case "--kill-with-parent":
                killWithParent = true
                continue
            case "--watch-memory":
                watchMemory = true
                continue
            case "--jail":
                jail = true
                continue
            default: break
            }
            guard let value = rest.popFirst() else { throw UsageError(description: "\(flag): value missing, or no such flag") }
            switch flag {
            case "--cpus": cpus = try number(flag, value, MachineConfiguration.cpuRange)
            case "--possible-cpus": possibleCPUs = try number(flag, value, MachineConfiguration.cpuRange)
            case "--memory": memory = try number(flag, value, MachineConfiguration.memoryRange)
            case "--extra-memory": extraMemory = try number(flag, value, 0...Int(MemoryMap.pluggableSize))
            case "--kernel-fd": kernel = try descriptor(flag, value)
            case "--image-fd": image = try descriptor(flag, value)
            case "--cmdline": commandLine = value
            case "--control-fd": control = try descriptor(flag, value)
            case "--vsock-fd": vsock = try descriptor(flag, value)
            case "--vsock-path": vsockPath = value
            case "--console-fd": console = try descriptor(flag, value)
            case "--directory-fd": directory = try descriptor(flag, value)
            case "--share": shares.append(try share(flag, value))
            case "--restore-fd": restore = try descriptor(flag, value)
            case "--prefault": prefault = try pages(flag, value)
            case "--base-fd": base = try descriptor(flag, value)
            case "--verify-fd": verify = try descriptor(flag, value)
            case "--profile-fd": profile = try descriptor(flag, value)
            case "--host-kind":
                guard ["hardware", "software"].contains(value) else { throw UsageError(description: "\(flag): hardware or software, not \(value)") }
                softwareKVM = value == "software"
            default: throw UsageError(description: "\(flag): no such flag")
            }
        }
        guard extraMemory % Int(MemoryBlocks.size) == 0, extraMemory == 0 || restore != nil else {
            throw UsageError(description: "--extra-memory: a multiple of 2 MiB, with --restore-fd")
        }
        guard possibleCPUs.map({ $0 >= cpus && restore == nil }) ?? true else {
            throw UsageError(description: "--possible-cpus: at least as many as --cpus, without --restore-fd")
        }
        guard memory % 4096 == 0 else { throw UsageError(description: "--memory: \(memory) is no multiple of 4096") }
    }

    /// Closes what the machine has been made of. Other machines are made of the same files: a guest that breaks into
    /// this process must not find a way to them.
    mutating func letGoOfFiles() {
        kernel = nil
        image = nil
        restore = nil
        base = nil
    }
}

/// How a share is given to the guest: `ro`, `ro-root` or `rw`, then perhaps how long the guest may believe what it was told.
struct ShareMode {
    let readOnly: Bool
    /// What is mounted below the root can be changed.
    let exceptSubmounts: Bool
    let cache: CachePolicy
    /// Larger files may be mapped into the guest.
    let isMapped: Bool

    static let usage = "ro, ro-root or rw, then perhaps auto or always, then perhaps mapped"

    init?(_ words: some Collection<String>) {
        guard let access = words.first, ["ro", "ro-root", "rw"].contains(access), words.count <= 3 else { return nil }
        guard let cache = words.count >= 2 ? words.dropFirst().first.flatMap({ CachePolicy(rawValue: $0) }) : .auto else { return nil }
        isMapped = words.count == 3
        if isMapped, words.dropFirst(2).first != "mapped" { return nil }
        readOnly = access != "rw"
        exceptSubmounts = access == "ro-root"
        self.cache = cache
    }
}

private func share(_ flag: String, _ value: String) throws -> (name: String, root: Descriptor, mode: ShareMode) {
    let words = value.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    guard words.count >= 3, let mode = ShareMode(words[2...]) else {
        throw Options.UsageError(description: "\(flag): NAME:FD:MODE, MODE being \(ShareMode.usage), not \(value)")
    }
    return (words[0], try descriptor(flag, words[1]), mode)
}

private func number(_ flag: String, _ value: String, _ range: ClosedRange<Int>) throws -> Int {
    guard let number = Int(value), range.contains(number) else {
        throw Options.UsageError(description: "\(flag): a number from \(range.lowerBound) to \(range.upperBound), not \(value)")
    }
    return number
}

private func pages(_ flag: String, _ value: String) throws -> [PageRun] {
    try value.split(separator: ",", omittingEmptySubsequences: false).map { run in
        let numbers = run.split(separator: "+", omittingEmptySubsequences: false).map { UInt64($0) }
        guard numbers.count == 2, let first = numbers[0], let count = numbers[1] else {
            throw Options.UsageError(description: "\(flag): FIRST+COUNT, not \(run)")
        }
        return PageRun(first: first, count: count)
    }
}

private func descriptor(_ flag: String, _ value: String) throws -> Descriptor {
    guard let number = Int32(value), number > 2 else { throw Options.UsageError(description: "\(flag): a descriptor above 2, not \(value)") }
    let descriptor = Descriptor(adopting: number)
    do { _ = try descriptor.status() } catch { throw Options.UsageError(description: "\(flag): \(value) is not open") }
    return descriptor
}
