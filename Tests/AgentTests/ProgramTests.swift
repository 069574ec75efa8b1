import CLinux
import Glibc
import Linux
import OCI
import Testing

@testable import Agent

/// Programs as lists, not run: what is called, in what order.
@Suite("Container programs")
struct ProgramTests {
    private func program(absent: Set<String> = [], _ change: (inout Spec) -> Void = { _ in }) throws -> SystemCallProgram {
        var spec = Spec.template()
        spec.root = Root(path: "/root/fs")
        spec.process?.terminal = false
        change(&spec)
        var steps = try ProcessSteps(process: #require(spec.process), in: spec, home: nil)
        steps.streams = [10, 11, 12]
        steps.waitsForStart = true
        var inputs = ContainerProgram.Inputs(control: 9, process: steps)
        inputs.absentPaths = absent
        return ContainerProgram(spec, inputs).program
    }

    private func stages(_ program: SystemCallProgram) -> [String] {
        var names: [String] = []
        for instruction in program.instructions where names.last != program.stages[instruction.stage] {
            names.append(program.stages[instruction.stage])
        }
        return names
    }

    @Test("equal specs make equal programs")
    func pure() throws {
        #expect(try program() == program())
        #expect(try program() != program { $0.hostname = "other" })
    }

    @Test("what procfs does not have is not looked for, unless something else is at /proc")
    func absent() throws {
        func covered(_ change: (inout Spec) -> Void) throws -> [String] {
            try stages(program(absent: ["/proc/acpi", "/proc/bus"], change)).filter { $0.hasPrefix("maskedPaths") || $0.hasPrefix("readonlyPaths") }
        }
        let all = ["maskedPaths /proc/acpi", "maskedPaths /proc/keys", "readonlyPaths /proc/bus", "readonlyPaths /proc/sys"]
        func paths(_ spec: inout Spec) {
            spec.linux?.maskedPaths = ["/proc/acpi", "/proc/keys"]
            spec.linux?.readonlyPaths = ["/proc/bus", "/proc/sys"]
        }
        #expect(try covered(paths) == ["maskedPaths /proc/keys", "readonlyPaths /proc/sys"])
        for other in [
            Mount(destination: "/proc", type: "bind", source: "/srv", options: ["rbind"]), Mount(destination: "/proc/", type: "proc", source: "/proc", options: ["bind"]),
            Mount(destination: "/proc", type: "tmpfs"), Mount(destination: "/", type: "bind", source: "/srv", options: ["rbind"]),
        ] {
            #expect(try covered { paths(&$0); $0.mounts.append(other) } == all)
        }
        #expect(try covered { paths(&$0); $0.mounts.removeAll { $0.type == "proc" } } == all)
        #expect(try covered { paths(&$0); $0.mounts.append(Mount(destination: "/proc", options: ["remount", "ro"])) }.count == 2)
        #expect(["/proc/acpi", "/proc/sysrq-trigger"].allSatisfy(ContainerProgram.isOfProc))
        #expect(!["/proc", "/proc/", "/proc/1", "/proc/sys/kernel", "/sys/firmware", "/procs/a", "acpi"].contains(where: ContainerProgram.isOfProc))
    }

    @Test("the view of the machine first, the user last, then the wait for start and the program")
    func order() throws {
        let names = try stages(program())
        let wanted = [
            "namespaces", "hostname", "root /root/fs", "mounts[0] /proc", "device /dev/null", "links in /dev", "maskedPaths /proc/kcore",
            "readonlyPaths /proc/sys", "pivot_root", "standard streams", "process.rlimits", "process.user", "find program",
            "noNewPrivileges", "wait for start", "execute",
        ]
        var rest = names[...]
        for name in wanted {
            let place = rest.firstIndex(of: name)
            #expect(place != nil, "\(name) after \(names.count - rest.count) of \(names)")
            if let place { rest = rest[(place + 1)...] }
        }
        #expect(names.last == "execute")
    }

    @Test("a network of its own is the machine's, but for a container with a user namespace, which must own it")
    func network() {
        var spec = Spec.template()
        let network = UInt64(CLONE_NEWNET)
        #expect(spec.linux?.namespaces.contains { $0.type == .network } == true)
        #expect(ContainerProgram.newNamespaces(of: spec) & network == 0)
        spec.linux?.namespaces.append(LinuxNamespace(type: .user))
        #expect(ContainerProgram.newNamespaces(of: spec) & network != 0)
    }

    @Test("a filter is the last thing before the program, and what it must allow is capset and execve")
    func filter() throws {
        var spec = Spec.template()
        spec.process?.noNewPrivileges = false
        var steps = try ProcessSteps(process: #require(spec.process), in: spec, home: nil)
        steps.filter = try SeccompFilter(LinuxSeccomp(defaultAction: .allow))
        steps.waitsForStart = true
        let calls = ContainerProgram(spec, .init(control: 9, process: steps)).program.instructions.compactMap(\.number)
        #expect(calls.suffix(3) == [SYS_seccomp, SYS_capset, SYS_execve])
    }

    @Test("everything of the agent's is closed before a path of the container's choosing is looked up")
    func closed() throws {
        let calls = try program { $0.process?.args = ["program"] }.instructions.compactMap(\.number)
        let closes = try #require(calls.firstIndex(of: SYS_close_range))
        let finds = try #require(calls.firstIndex(of: Int32(SYS_faccessat2)))
        #expect(closes < finds)
    }

    @Test("a small program for a usual spec: every call costs 0.4 ms where ring 0 is interpreted")
    func size() throws {
        let program = try program()
        #expect(program.instructions.count < 240, "\(program.instructions.count)")
        #expect(program.registerCount < 40, "\(program.registerCount)")
    }

    @Test("the search path, the last variable of a name, and HOME")
    func environment() throws {
        var process = OCI.Process(args: ["ls"], env: ["PATH=/a:/b", "X=1", "X=2"])
        var steps = ProcessSteps(process: process)
        steps.home = "/home/x"
        #expect(steps.candidates == ["/a/ls", "/b/ls"])
        #expect(steps.environment == ["PATH=/a:/b", "X=2", "HOME=/home/x"])
        process = OCI.Process(args: ["./ls"], env: ["HOME=/y"])
        steps = ProcessSteps(process: process)
        steps.home = "/home/x"
        #expect(steps.candidates == ["./ls"])
        #expect(steps.environment == ["HOME=/y"])
    }

    @Test("CPU lists as masks")
    func masks() {
        #expect(ProcessSteps.cpuMask("0-2,9")?.prefix(2) == [0b111, 0b10])
        #expect(ProcessSteps.cpuMask("") == nil)
        #expect(ProcessSteps.cpuMask("2-1") == nil)
        #expect(ProcessSteps.cpuMask("99999") == nil)
    }

    @Test("sysctl names with dots and with slashes")
    func parameters() {
        #expect(ContainerProgram.parameterPath("net.ipv4.ip_forward") == "/proc/sys/net/ipv4/ip_forward")
        #expect(ContainerProgram.parameterPath("net/ipv4/conf/eth0.1/x") == "/proc/sys/net/ipv4/conf/eth0.1/x")
        #expect(ContainerProgram.parameterPath("net.ipv4.conf.eth0/1.x") == "/proc/sys/net/ipv4/conf/eth0.1/x")
    }

    @Test("capability sets: unknown names grant nothing, what cannot be ambient is not")
    func capabilities() {
        let sets = CapabilitySets(
            LinuxCapabilities(bounding: ["CAP_CHOWN", "CAP_NONSENSE"], effective: [], inheritable: [], permitted: ["CAP_CHOWN"], ambient: ["CAP_CHOWN"]))
        #expect(sets.bounding == 1)
        #expect(sets.raised.isEmpty)
        #expect(sets.dropped.count == Capability.names.count - 1)
    }
}

@Suite("Seccomp filters")
struct SeccompFilterTests {
    @Test("a rule for a call is code, one for an unknown call is none")
    func rules() throws {
        var seccomp = LinuxSeccomp(defaultAction: .allow)
        let empty = try SeccompFilter(seccomp)
        seccomp.syscalls = [LinuxSyscall(names: ["nonsense"], action: .errno)]
        #expect(try SeccompFilter(seccomp).code == empty.code)
        seccomp.syscalls = [LinuxSyscall(names: ["mkdir"], action: .errno, errnoRet: 77)]
        #expect(try SeccompFilter(seccomp).code.count > empty.code.count)
    }

    @Test("two conditions on one argument are alternatives, flags are the kernel's")
    func arguments() throws {
        var seccomp = LinuxSeccomp(defaultAction: .errno)
        seccomp.flags = [.log, .specAllow]
        let conditions = [
            LinuxSeccompArg(index: 0, value: 8, op: .equalTo), LinuxSeccompArg(index: 0, value: 0x20000, op: .equalTo),
            LinuxSeccompArg(index: 1, value: 0x7e02_0000, valueTwo: 0, op: .maskedEqual),
        ]
        seccomp.syscalls = [LinuxSyscall(names: ["personality"], action: .allow, args: conditions)]
        let filter = try SeccompFilter(seccomp)
        #expect(filter.flags == 6)
        #expect(filter.code.count % 8 == 0)
    }

    /// What the kernel answers a call of x86-64 with, as far as the first instructions decide it.
    private func verdict(_ filter: SeccompFilter, _ number: UInt32, architecture: UInt32 = 0xc000_003e) -> UInt32? {
        var (position, accumulator) = (0, UInt32(0))
        while position < 6 {
            let bytes = filter.code[(position * 8)..<(position * 8 + 8)].map(UInt32.init)
            let (code, yes, no) = (bytes[0] | bytes[1] << 8, Int(bytes[2]), Int(bytes[3]))
            let value = bytes[4] | bytes[5] << 8 | bytes[6] << 16 | bytes[7] << 24
            switch code {
            case 0x20: accumulator = value == 4 ? architecture : number
            case 0x15: position += accumulator == value ? yes : no
            case 0x25: position += accumulator > value ? yes : no
            case 0x35: position += accumulator >= value ? yes : no
            case 0x06: return value
            default: return nil
            }
            position += 1
        }
        return nil
    }

    @Test("calls newer than the newest a list of allowed ones names do not exist; others, and other architectures, are the list's")
    func newerCalls() throws {
        var seccomp = LinuxSeccomp(defaultAction: .errno)
        // 2 and 39.
        seccomp.syscalls = [LinuxSyscall(names: ["getpid", "open", "nonsense"], action: .allow)]
        let filter = try SeccompFilter(seccomp)
        #expect(verdict(filter, 40) == 0x0005_0026)
        #expect(verdict(filter, 1000) == 0x0005_0026)
        #expect(verdict(filter, 39) == nil)
        #expect(verdict(filter, 0x4000_0000 | 600) == nil)
        #expect(verdict(filter, 1000, architecture: 0x4000_0003) == nil)
        seccomp.defaultErrnoRet = UInt32(ENOSYS)
        let plain = try SeccompFilter(seccomp).code.count
        seccomp.defaultErrnoRet = 1
        #expect(try SeccompFilter(seccomp).code.count == plain + 48)
        seccomp.defaultAction = .log
        #expect(verdict(try SeccompFilter(seccomp), 1000) != 0x0005_0026)
    }

    @Test("a listener cannot be had")
    func listener() {
        #expect(throws: InvalidField.self) { try SeccompFilter(LinuxSeccomp(defaultAction: .notify)) }
    }
}
