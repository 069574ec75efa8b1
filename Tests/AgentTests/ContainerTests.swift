import AgentAPI
import Glibc
import Linux
import OCI
import TTRPC
import Testing

@testable import Agent

extension RealContainers {
    /// Real containers in this machine's kernel, asked for as the host does.
    @Suite("Containers")
    struct ContainerTests {
        let machine: Machine

        init() throws {
            machine = try Machine()
        }

        @Test("a container says hello, exits with its status and leaves no cgroup")
        func hello() throws {
            let (text, status) = try machine.output(of: machine.spec("echo hello; exit 7"), id: "hello")
            #expect(text == "hello\n")
            #expect(status == 7)
            #expect(access("\(Machine.cgroupRoot ?? "")/hello", F_OK) != 0)
        }

        @Test("it is process 1 of its own namespaces, with its own names and file systems")
        func namespaces() throws {
            let command = "echo $$; hostname; mount | grep -c ' /proc '; ls /dev; readlink /dev/fd; ls /proc | grep -c '^[0-9]'; cat /proc/self/cgroup | grep ^0:; pwd"
            let (text, status) = try machine.output(of: machine.spec(command))
            #expect(status == 0)
            let lines = text.split(separator: "\n").map(String.init)
            #expect(lines.first == "1")
            #expect(lines.dropFirst().first == "microvm")
            for name in ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue", "stdin"] { #expect(lines.contains(name), "\(name)") }
            #expect(lines.contains("/proc/self/fd"))
            #expect(lines.contains("0::/"))
            #expect(lines.last == "/")
        }
    }

    /// What a spec asks of the container's process and file systems.
    @Suite("Specs in real containers")
    struct SpecTests {
        let machine: Machine

        init() throws {
            machine = try Machine()
        }

        private func run(_ command: String, _ change: (inout Spec) -> Void = { _ in }) throws -> String {
            var spec = machine.spec(command)
            change(&spec)
            let (text, status) = try machine.output(of: spec)
            return status == 0 ? text : "\(text)(status \(status))"
        }

        @Test("user, groups, umask, directory and environment are the spec's")
        func process() throws {
            let text = try run("id -u; id -g; id -G; umask; pwd; echo $WORD $HOME; touch /tmp/f; stat -c %a:%u /tmp/f") {
                $0.process?.user = User(uid: 1000, gid: 1001, umask: 0o027, additionalGids: [5, 6])
                $0.process?.cwd = "/tmp"
                $0.process?.env += ["WORD=first", "WORD=last"]
            }
            #expect(text == "1000\n1001\n1001 5 6\n0027\n/tmp\nlast /home/joe\n640:1000\n")
        }

        @Test("a missing working directory is made")
        func directory() throws {
            #expect(try run("pwd") { $0.process?.cwd = "/var/made/here" } == "/var/made/here\n")
        }

        @Test("a user's /dev/stdout can be opened again")
        func standardStreams() throws {
            #expect(try run("echo again > /dev/stdout; echo error > /dev/stderr") { $0.process?.user = User(uid: 1000, gid: 1000) } == "again\nerror\n")
        }

        @Test("capabilities are the spec's, of root and of others")
        func capabilities() throws {
            let command = "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status"
            let root = try run("exec " + command) {
                $0.process?.capabilities = LinuxCapabilities(bounding: ["CAP_CHOWN", "CAP_KILL"], effective: ["CAP_CHOWN"], permitted: ["CAP_CHOWN"])
            }
            // Executing as root gives all of the bounding set.
            #expect(root.split(separator: "\n").map { $0.suffix(4) } == ["0000", "0021", "0021", "0021", "0000"])
            let joe = try run("exec " + command) {
                let one = ["CAP_NET_RAW"]
                $0.process?.user = User(uid: 1000, gid: 1000)
                $0.process?.capabilities = LinuxCapabilities(bounding: one, effective: one, inheritable: one, permitted: one, ambient: one)
            }
            #expect(joe.split(separator: "\n").map { $0.suffix(4) } == ["2000", "2000", "2000", "2000", "2000"])
        }

        @Test("no new privileges", arguments: [true, false])
        func noNewPrivileges(on: Bool) throws {
            #expect(try run("grep NoNewPrivs /proc/self/status") { $0.process?.noNewPrivileges = on } == "NoNewPrivs:\t\(on ? 1 : 0)\n")
        }

        @Test("limits are the spec's")
        func limits() throws {
            let text = try run("ulimit -n; ulimit -c; ulimit -Hs") {
                $0.process?.rlimits = [
                    POSIXRlimit(type: .nofile, hard: 64, soft: 32), POSIXRlimit(type: .core, hard: 0, soft: 0),
                    POSIXRlimit(type: .stack, hard: 4 << 20, soft: 1 << 20),
                ]
            }
            #expect(text == "32\n0\n4096\n")
        }

        @Test("an OOM score is the container's alone")
        func memoryScore() throws {
            let before = try Descriptor.open("/proc/self/oom_score_adj", O_RDONLY).readToEnd()
            #expect(try run("cat /proc/self/oom_score_adj") { $0.process?.oomScoreAdj = 500 } == "500\n")
            #expect(try Descriptor.open("/proc/self/oom_score_adj", O_RDONLY).readToEnd() == before)
        }

        @Test("a seccomp filter refuses what it names, whether or not privileges can be gained", arguments: [true, false])
        func seccomp(noNewPrivileges: Bool) throws {
            let text = try run("mkdir /tmp/x; echo $?; touch /tmp/y; echo $?") {
                $0.process?.noNewPrivileges = noNewPrivileges
                var seccomp = LinuxSeccomp(defaultAction: .allow)
                seccomp.architectures = [.x86_64, .x86, .x32]
                seccomp.syscalls = [LinuxSyscall(names: ["mkdir", "mkdirat", "no_such_call"], action: .errno, errnoRet: 1)]
                $0.linux?.seccomp = seccomp
            }
            #expect(text.hasPrefix("1\n0\n"))
            #expect(text.contains("Operation not permitted"))
        }

        @Test("a filter that allows little lets the container start")
        func strictSeccomp() throws {
            let text = try run("echo fine") {
                var seccomp = LinuxSeccomp(defaultAction: .errno)
                let names = [
                    "execve", "capset", "brk", "mmap", "munmap", "mprotect", "arch_prctl", "set_tid_address", "write", "writev", "exit_group", "exit",
                    "getuid", "geteuid", "getgid", "getegid", "getpid", "getppid", "rt_sigaction", "rt_sigprocmask", "open", "openat", "fcntl", "ioctl",
                    "stat", "newfstatat", "getcwd", "close", "prctl", "prlimit64", "readlink", "uname", "set_robust_list", "rseq", "getrandom", "rt_sigreturn",
                ]
                seccomp.syscalls = [LinuxSyscall(names: names, action: .allow)]
                $0.linux?.seccomp = seccomp
            }
            #expect(text == "fine\n")
        }

        @Test("masked paths read empty, read-only paths refuse, the root may be read-only")
        func paths() throws {
            let text = try run("cat /proc/timer_list | wc -c; ls /proc/bus | wc -l; echo 1 > /proc/sys/kernel/msgmax; touch /file; echo $?") {
                $0.root?.readonly = true
                $0.linux?.maskedPaths = ["/proc/timer_list", "/proc/bus", "/proc/nothing"]
            }
            #expect(text.hasPrefix("0\n0\n1\n"))
            #expect(text.components(of: "Read-only file system") == 2)
        }

        @Test("bind mounts of directories and files, with their options, at targets that are made")
        func binds() throws {
            let source = machine.root + "/source"
            mkdir(source, 0o755)
            try Descriptor.open("\(source)/file", O_WRONLY | O_CREAT, mode: 0o644).writeAll("content")
            let text = try run("cat /new/dir/file /new/other; touch /new/dir/x; echo $?; grep -c 'nosuid.*noexec' /proc/self/mountinfo; grep /new/dir /proc/mounts") {
                $0.mounts += [
                    Mount(destination: "/new/dir", type: "bind", source: source, options: ["rbind", "ro", "nosuid", "noexec", "noatime", "rprivate"]),
                    Mount(destination: "/new/other", type: "bind", source: source + "/file", options: ["bind"]),
                ]
            }
            #expect(text.hasPrefix("contentcontent1\n"))
            #expect(text.contains("Read-only file system"))
            #expect(text.contains("/new/dir"))
            #expect(text.contains("ro,nosuid,noexec,noatime"))
        }

        @Test("links in the root file system lead nowhere else, those to nothing are followed and made")
        func links() throws {
            symlink("../run/real/resolv.conf", machine.root + "/etc/resolv.conf")
            symlink("/../../../../etc", machine.root + "/outside")
            let text = try run("cat /etc/resolv.conf /etc/marker; readlink /etc/resolv.conf") {
                $0.mounts += [
                    Mount(destination: "/etc/resolv.conf", type: "bind", source: machine.root + "/etc/passwd", options: ["bind", "ro"]),
                    Mount(destination: "/outside/marker", type: "bind", source: machine.root + "/etc/passwd", options: ["bind"]),
                ]
            }
            #expect(text.components(of: "root:x:0:0") == 2)
            #expect(access("/etc/marker", F_OK) != 0)
            #expect(access("/run/real", F_OK) != 0)
            #expect(access(machine.root + "/run/real/resolv.conf", F_OK) == 0)
        }

        @Test("tmpfs: options, read-only, and beginning with what it covers")
        func tmpfs() throws {
            mkdir(machine.root + "/data", 0o750)
            mkdir(machine.root + "/data/sub", 0o700)
            try Descriptor.open(machine.root + "/data/sub/file", O_WRONLY | O_CREAT, mode: 0o604).writeAll("kept")
            symlink("sub/file", machine.root + "/data/link")
            mkdir(machine.root + "/open", 0o755)
            let text = try run("cat /data/link; stat -c %a /data /data/sub /data/sub/file /open; grep -E ' /(data|small) ' /proc/mounts; touch /small/x; echo $?; ls /small") {
                $0.mounts += [
                    Mount(destination: "/data", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup", "size=1m", "nosuid"]),
                    Mount(destination: "/open", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup", "mode=1777"]),
                    Mount(destination: "/small", type: "tmpfs", source: "tmpfs", options: ["ro", "mode=711", "noexec"]),
                    Mount(destination: "/small/inside", type: "tmpfs", source: "tmpfs"),
                ]
            }
            #expect(text.hasPrefix("kept750\n700\n604\n1777\n"))
            #expect(text.contains("size=1024k"))
            #expect(text.contains("1\ninside\n"))
            #expect(text.contains("Read-only file system"))
        }

        @Test("devices are made with their numbers, modes and owners")
        func devices() throws {
            let text = try run("stat -c '%n %t:%T %a %u:%g %F' /dev/null /dev/mine /dev/net/pipe; echo x > /dev/null; head -c 3 /dev/zero | wc -c") {
                var mine = LinuxDevice(path: "/dev/mine", type: .character, major: 1, minor: 5)
                mine.fileMode = 0o640
                mine.uid = 7
                mine.gid = 8
                $0.linux?.devices = [mine, LinuxDevice(path: "/dev/net/pipe", type: .fifo)]
            }
            #expect(text == "/dev/null 1:3 666 0:0 character special file\n/dev/mine 1:5 640 7:8 character special file\n/dev/net/pipe 0:0 666 0:0 fifo\n3\n")
        }

        @Test("a sysctl, a personality and clock offsets")
        func kernel() throws {
            let text = try run("cat /proc/sys/kernel/msgmax; uname -m; cat /proc/uptime") {
                $0.linux?.sysctl = ["kernel.msgmax": "4242"]
                $0.linux?.personality = LinuxPersonality(domain: .linux32)
                $0.linux?.namespaces.append(LinuxNamespace(type: .time))
                $0.linux?.timeOffsets = ["boottime": LinuxTimeOffset(secs: 1_000_000_000)]
            }
            #expect(text.hasPrefix("4242\ni686\n1"))
            let uptime = text.split(separator: "\n").last?.split(separator: " ").first.map(String.init) ?? ""
            #expect((Double(uptime) ?? 0) > 999_999_999)
        }

        @Test("a user namespace: root inside is the mapped user outside")
        func userNamespace() throws {
            chown(machine.root, 100_000, 100_000)
            let text = try run("id -u; cat /proc/self/uid_map; touch /made; stat -c %u /made; echo x > /dev/null; ulimit -n; mount -t tmpfs none /tmp; echo $?") {
                $0.linux?.namespaces.append(LinuxNamespace(type: .user))
                $0.linux?.uidMappings = [LinuxIDMapping(containerID: 0, hostID: 100_000, size: 65536)]
                $0.linux?.gidMappings = [LinuxIDMapping(containerID: 0, hostID: 100_000, size: 65536)]
                $0.process?.rlimits = [POSIXRlimit(type: .nofile, hard: 77, soft: 77)]
                let all = ["CAP_SYS_ADMIN", "CAP_CHOWN", "CAP_SETUID", "CAP_SETGID"]
                $0.process?.capabilities = LinuxCapabilities(bounding: all, effective: all, permitted: all)
            }
            let words = text.split(whereSeparator: { $0 == " " || $0 == "\n" })
            #expect(words == ["0", "0", "100000", "65536", "0", "77", "0"])
            var status = stat()
            #expect(stat(machine.root + "/made", &status) == 0)
            #expect(status.st_uid == 100_000)
        }

        @Test("devices of a user namespace, and those outside of /dev, are the spec's: kind, numbers, owner and mode")
        func shownDevices() throws {
            chown(machine.root, 100_000, 100_000)
            for isUser in [true, false] {
                let text = try run("stat -c '%n %F %t,%T %u:%g %a' /dev/foo /sub/foo; head -c 3 /dev/zero | wc -c; ls -a /dev | grep -c devices || true") {
                    $0.linux?.devices = ["/dev/foo", "/sub/foo"].map { LinuxDevice(path: $0, type: .block, major: 1, minor: 5) }
                    for index in 0..<2 {
                        $0.linux?.devices[index].fileMode = 0o640
                        $0.linux?.devices[index].uid = 10
                        $0.linux?.devices[index].gid = 11
                    }
                    guard isUser else { return }
                    $0.linux?.namespaces.append(LinuxNamespace(type: .user))
                    $0.linux?.uidMappings = [LinuxIDMapping(containerID: 0, hostID: 100_000, size: 65536)]
                    $0.linux?.gidMappings = [LinuxIDMapping(containerID: 0, hostID: 100_000, size: 65536)]
                }
                #expect(text == ["/dev/foo", "/sub/foo"].map { "\($0) block special file 1,5 10:11 640\n" }.joined() + "3\n0\n")
            }
            #expect(try Descriptor.open("/dev", O_RDONLY | O_DIRECTORY).entryNames().contains { $0.hasPrefix(".devices-") } == false)
        }

        @Test("a user namespace without a network of its own is shown the machine's sysfs, with the mount's options")
        func sharedNetwork() throws {
            chown(machine.root, 100_000, 100_000)
            let text = try run("cat /sys/kernel/mm/transparent_hugepage/enabled > /dev/null; echo $?; grep ' /sys ' /proc/mounts | head -n 1; ls /sys/fs/cgroup") {
                $0.linux?.namespaces.removeAll { $0.type == .network }
                $0.linux?.namespaces.append(LinuxNamespace(type: .user))
                $0.linux?.uidMappings = [LinuxIDMapping(containerID: 0, hostID: 100_000, size: 65536)]
                $0.linux?.gidMappings = [LinuxIDMapping(containerID: 0, hostID: 100_000, size: 65536)]
            }
            #expect(text.hasPrefix("0\nsysfs /sys sysfs ro,nosuid,nodev,noexec"))
            #expect(text.contains("cgroup.procs"))
        }

        @Test("hooks in the guest run where the specification says, with the state on standard input")
        func hooks() throws {
            try Descriptor.open(machine.root + "/bin/hook", O_WRONLY | O_CREAT, mode: 0o755).writeAll("#!/bin/sh\ncat > /tmp/started; hostname >> /tmp/started\n")
            let text = try run("cat /tmp/started; cat /created") {
                var hooks = Hooks()
                hooks.createContainer = [Hook(path: "/bin/sh", args: ["sh", "-c", "hostname > \(machine.root)/created"], env: ["PATH=/bin:/usr/bin"])]
                hooks.startContainer = [Hook(path: "/bin/hook")]
                $0.hooks = hooks
            }
            #expect(text.contains("\"status\":\"created\""))
            #expect(text.hasSuffix("microvm\nmicrovm\n"))
        }

        @Test("a hook that fails keeps the container from starting and says which and how")
        func failingHook() throws {
            var spec = machine.spec("true")
            spec.hooks = Hooks()
            spec.hooks?.createContainer = [Hook(path: "/bin/sh", args: ["sh", "-c", "exit 3"])]
            do {
                _ = try machine.create("hooked", spec)
                Issue.record("created")
            } catch let status as Status {
                #expect(status.message.contains("hooks.createContainer[0] /bin/sh: exit status 3"))
            }
            spec.hooks?.createContainer = [Hook(path: "/nowhere")]
            expectStatus(.invalidArgument) { _ = try machine.create("hooked", spec) }
            spec.hooks?.createContainer = [Hook(path: "/bin/sleep", args: ["sleep", "100"], timeout: 1)]
            expectStatus(.deadlineExceeded) { _ = try machine.create("hooked", spec) }
        }

        @Test("a seccomp filter holds for startContainer hooks, not for createContainer hooks; the message says what ended one")
        func filteredHook() throws {
            var spec = machine.spec("true")
            var seccomp = LinuxSeccomp(defaultAction: .allow)
            seccomp.syscalls = [LinuxSyscall(names: ["mkdir", "mkdirat"], action: .kill)]
            spec.linux?.seccomp = seccomp
            spec.hooks = Hooks()
            spec.hooks?.createContainer = [Hook(path: "/bin/mkdir", args: ["mkdir", machine.root + "/made"])]
            spec.hooks?.startContainer = [Hook(path: "/bin/mkdir", args: ["mkdir", "/tmp/made"])]
            _ = try machine.create("filtered", spec)
            do {
                try machine.start("filtered")
                Issue.record("started")
            } catch let status as Status {
                #expect(status.message.contains("error running hook hooks.startContainer[0] /bin/mkdir: bad system call"))
            }
            _ = try machine.wait("filtered")
            try machine.delete("filtered")
        }

        @Test("a program that is not there, or not to be executed, is told apart")
        func programs() throws {
            expectStatus(.notFound) { _ = try machine.create("x", machine.spec("/nowhere", "x")) }
            expectStatus(.notFound) { _ = try machine.create("x", machine.spec("no-such-program", "x")) }
            expectStatus(.permissionDenied) { _ = try machine.create("x", machine.spec("/etc/passwd", "x")) }
            try Descriptor.open(machine.root + "/bin/noformat", O_WRONLY | O_CREAT, mode: 0o755).writeAll("\u{1}\u{2}")
            _ = try machine.create("x", machine.spec("noformat", "x"))
            expectStatus(.permissionDenied) { try machine.start("x") }
            #expect(try machine.wait("x").exitStatus == 1)
            try machine.delete("x")
        }

        @Test("errors name the field or the stage")
        func errors() throws {
            func message(_ change: (inout Spec) -> Void) -> String {
                var spec = machine.spec("true")
                change(&spec)
                do {
                    _ = try machine.create("wrong", spec)
                    return "created"
                } catch { return "\(error)" }
            }
            let bind = message { $0.mounts.append(Mount(destination: "/x", type: "bind", source: "/nowhere", options: ["bind"])) }
            #expect(bind.hasPrefix("mounts[7] /x: "))
            let root = message { $0.root?.path = "/nowhere" }
            #expect(root.hasPrefix("root.path: open /nowhere: "))
            let option = message { $0.mounts.append(Mount(destination: "/x", type: "tmpfs", source: "x", options: ["nonsense=1"])) }
            #expect(option.hasPrefix("mounts[7] /x: "))
            let parameter = message { $0.linux?.sysctl = ["kernel.nonsense": "1"] }
            #expect(parameter.hasPrefix("sysctl kernel.nonsense: "))
            let directory = message { $0.process?.cwd = "/etc/passwd" }
            #expect(directory.hasPrefix("cwd /etc/passwd: "))
        }
    }
}

extension String {
    func components(of part: String) -> Int {
        var count = 0
        var rest = self[...]
        while let range = rest.range(of: part) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }

}

extension Substring {
    func range(of part: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(part) { return start..<(index(start, offsetBy: part.count)) }
            start = index(after: start)
        }
        return nil
    }
}
