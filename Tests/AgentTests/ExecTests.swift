import AgentAPI
import Glibc
import Linux
import OCI
import TTRPC
import Testing

@testable import Agent

extension RealContainers {
    @Suite("Processes in a running container")
    struct ExecTests {
        let machine: Machine

        init() throws {
            machine = try Machine()
        }

        private func process(_ command: String) -> OCI.Process {
            var process = OCI.Process(args: ["/bin/sh", "-c", command], env: ["PATH=/bin"])
            process.capabilities = LinuxCapabilities()
            return process
        }

        @Test("an exec is in the container: its processes, files, names, cgroup; its status and output come back")
        func joins() throws {
            try machine.sleeper("c")
            let out = try machine.stream()
            _ = try machine.exec("c", "e", process("ps | grep -c '[/]bin/sleep 1000'; hostname; cat /proc/self/cgroup | grep ^0:; exit 9"), stdout: out.id)
            #expect(try machine.readToEnd(out.end) == "1\nmicrovm\n0::/\n")
            #expect(try machine.wait("c", exec: "e").exitStatus == 9)
            // Asked again, later.
            #expect(try machine.wait("c", exec: "e").exitStatus == 9)
            expectStatus(.notFound) { _ = try machine.wait("c", exec: "other") }
            try machine.end("c")
        }

        @Test("an exec has the rights of its own process, and the container's filter")
        func rights() throws {
            try machine.sleeper("c") {
                var seccomp = LinuxSeccomp(defaultAction: .allow)
                seccomp.syscalls = [LinuxSyscall(names: ["mkdir", "mkdirat"], action: .errno)]
                $0.linux?.seccomp = seccomp
            }
            let out = try machine.stream()
            var joe = process("id -u; grep CapEff /proc/self/status; grep NoNew /proc/self/status; mkdir /tmp/d 2>/dev/null; echo $?; pwd; ulimit -n; echo $HOME")
            joe.user = User(uid: 1000, gid: 1000)
            joe.cwd = "/tmp"
            joe.noNewPrivileges = true
            joe.rlimits = [POSIXRlimit(type: .nofile, hard: 40, soft: 40)]
            _ = try machine.exec("c", "e", joe, stdout: out.id)
            #expect(try machine.readToEnd(out.end) == "1000\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n1\n/tmp\n40\n/home/joe\n")
            try machine.end("c")
        }

        @Test("an exec can be in a cgroup below the container's, if there is one, and in no other")
        func cgroupBelow() throws {
            try machine.sleeper("c") { $0.mounts = $0.mounts.map { $0.type == "cgroup" ? Mount(destination: $0.destination, type: "cgroup", source: "cgroup") : $0 } }
            for (index, wanted) in ["/", "below/../below/"].enumerated() {
                let out = try machine.stream()
                _ = try machine.exec("c", "e\(index)", process("grep ^0:: /proc/self/cgroup; mkdir -p /sys/fs/cgroup/below"), stdout: out.id, cgroup: wanted)
                #expect(try machine.readToEnd(out.end) == ["0::/\n", "0::/below\n"][index])
            }
            expectStatus(.invalidArgument) { _ = try machine.exec("c", "e", process("true"), cgroup: "below/../..") }
            expectStatus(.failedPrecondition) { _ = try machine.exec("c", "e", process("true"), cgroup: "missing") }
            try machine.end("c")
        }

        @Test("what the host passes has the numbers it was given, and nothing else is open", arguments: [true, false])
        func passed(isExec: Bool) throws {
            let (out, source, sink, connection) = (try machine.stream(), try machine.stream(), try machine.stream(), try machine.stream())
            let passed: [PassedDescriptor] = [
                .with { $0.number = 5; $0.reading = source.id }, .with { $0.number = 3; $0.writing = sink.id },
                .with { $0.number = 9; $0.socket = connection.id }, .with { $0.number = 4; $0.device = "null" },
            ]
            // 6 is the directory that is being read.
            let wanted = process("cd /proc/$$/fd; echo *; cat <&5 >&3; read line <&9; echo got $line >&9; echo x >&4; cat /dev/fd/5")
            if isExec {
                try machine.sleeper("c")
                _ = try machine.exec("c", "e", wanted, stdout: out.id, passed: passed)
            } else {
                var spec = machine.spec()
                spec.process = wanted
                _ = try machine.create("c", spec, stdout: out.id, passed: passed)
                try machine.start("c")
            }
            try source.end.writeAll("carried")
            try source.end.shutdown(.writing)
            try connection.end.writeAll("line\n")
            #expect(try machine.readToEnd(sink.end) == "carried")
            #expect(try machine.readToEnd(connection.end) == "got line\n")
            #expect(try machine.readToEnd(out.end) == "0 1 2 3 4 5 6 9\n")
            #expect(try machine.wait("c", exec: isExec ? "e" : "").exitStatus == 0)
            if isExec { try machine.end("c") } else { try machine.delete("c") }
        }

        @Test("passed descriptors that would hide a standard stream, or each other, are refused", arguments: [[2], [3, 3], [5000]])
        func badNumbers(numbers: [UInt32]) throws {
            try machine.sleeper("c")
            let passed: [PassedDescriptor] = numbers.map { number in .with { $0.number = number; $0.device = "null" } }
            expectStatus(.invalidArgument) { _ = try machine.exec("c", "e", process("true"), passed: passed) }
            try machine.end("c")
        }

        @Test("standard input reaches the process, and its end too")
        func input() throws {
            try machine.sleeper("c")
            let input = try machine.stream()
            let out = try machine.stream()
            _ = try machine.exec("c", "e", process("cat; echo end"), stdin: input.id, stdout: out.id)
            try input.end.writeAll("line\n")
            try input.end.shutdown(.writing)
            #expect(try machine.readToEnd(out.end) == "line\nend\n")
            try machine.end("c")
        }

        @Test("megabytes go through in both directions unchanged")
        func volume() throws {
            try machine.sleeper("c")
            let input = try machine.stream()
            let out = try machine.stream()
            _ = try machine.exec("c", "e", process("cat"), stdin: input.id, stdout: out.id)
            let line = String(repeating: "0123456789abcde\n", count: 4096)
            let writer = try Thread("writer") {
                for _ in 0..<64 { try? input.end.writeAll(line) }
                try? input.end.shutdown(.writing)
            }
            let text = try machine.readToEnd(out.end)
            writer.join()
            #expect(text.utf8.count == 64 * line.utf8.count)
            #expect(text.hasPrefix(line) && text.hasSuffix(line))
            try machine.end("c")
        }

        @Test("a reader who never reads stalls nobody else")
        func stalledReader() throws {
            try machine.sleeper("c")
            let stalled = try machine.stream()
            _ = try machine.exec("c", "stalled", process("while :; do echo 0123456789012345678901234567890123456789; done"), stdout: stalled.id)
            let out = try machine.stream()
            _ = try machine.exec("c", "e", process("echo alive"), stdout: out.id)
            #expect(try machine.readToEnd(out.end) == "alive\n")
            try machine.kill("c", exec: "stalled")
            #expect(try machine.wait("c", exec: "stalled").exitStatus == 137)
            try machine.end("c")
        }

        @Test("a reader who leaves ends the writer")
        func goneReader() throws {
            try machine.sleeper("c")
            let out = try machine.stream()
            _ = try machine.exec("c", "e", process("while echo more; do :; done"), stdout: out.id)
            _ = try machine.readToEnd(out.end, limit: 10)
            try out.end.shutdown(.both)
            _ = try machine.wait("c", exec: "e")
            try machine.end("c")
        }

        @Test("a terminal: its name, size, echo and control characters")
        func terminal() throws {
            try machine.sleeper("c")
            let input = try machine.stream()
            let out = try machine.stream()
            var shell = process("tty; stty size; cat")
            shell.terminal = true
            shell.consoleSize = Box(height: 33, width: 77)
            _ = try machine.exec("c", "e", shell, stdin: input.id, stdout: out.id)
            #expect(try machine.readToEnd(out.end, limit: 19).hasPrefix("/dev/pts/0\r\n33 77\r\n"))
            _ = try machine.call(AgentMethods.resizeConsole, .with { $0.containerID = "c"; $0.execID = "e"; $0.columns = 100; $0.rows = 50 })
            try input.end.writeAll("typed\n")
            #expect(try machine.readToEnd(out.end, limit: 14) == "typed\r\ntyped\r\n")
            try input.end.writeAll([3])
            #expect(try machine.wait("c", exec: "e").exitStatus == 130)
            try machine.end("c")
        }

        @Test("a container's own terminal is its console")
        func console() throws {
            var spec = machine.spec("tty; stty size; ls -l /dev/console | grep -c ^c; echo shown > /dev/console")
            spec.process?.terminal = true
            spec.process?.consoleSize = Box(height: 10, width: 20)
            let out = try machine.stream()
            _ = try machine.create("t", spec, stdout: out.id)
            try machine.start("t")
            #expect(try machine.readToEnd(out.end) == "/dev/pts/0\r\n10 20\r\n1\r\nshown\r\n")
            _ = try machine.wait("t")
            try machine.delete("t")
        }

        @Test("what cannot be executed is told apart, and leaves nothing")
        func failures() throws {
            try machine.sleeper("c")
            expectStatus(.notFound) { _ = try machine.exec("c", "e", OCI.Process(args: ["/nowhere"])) }
            expectStatus(.notFound) { _ = try machine.exec("c", "e", OCI.Process(args: ["nowhere"], env: ["PATH=/bin:/etc"])) }
            expectStatus(.permissionDenied) { _ = try machine.exec("c", "e", OCI.Process(args: ["passwd"], env: ["PATH=/bin:/etc"])) }
            expectStatus(.invalidArgument) { _ = try machine.exec("c", "e", OCI.Process(args: ["/bin/true"], cwd: "/nowhere")) }
            // Descriptors of the agent's cannot be reached as a directory (CVE-2024-21626).
            for number in 3..<12 {
                expectStatus(.invalidArgument) { _ = try machine.exec("c", "e", OCI.Process(args: ["/bin/true"], cwd: "/proc/self/fd/\(number)")) }
            }
            expectStatus(.failedPrecondition) { _ = try machine.exec("other", "e", process("true")) }
            try machine.end("c")
            expectStatus(.failedPrecondition) { _ = try machine.exec("c", "e", process("true")) }
        }

        @Test("no descriptor of the agent's is open in a program")
        func descriptors() throws {
            try machine.sleeper("c")
            let out = try machine.stream()
            _ = try machine.exec("c", "e", OCI.Process(args: ["/bin/ls", "/proc/self/fd"]), stdout: out.id)
            // 3 is ls's own.
            #expect(try machine.readToEnd(out.end) == "0\n1\n2\n3\n")
            try machine.end("c")
        }

        @Test("an exec enters user and time namespaces too")
        func otherNamespaces() throws {
            chown(machine.root, 100_000, 100_000)
            try machine.sleeper("c") {
                $0.linux?.namespaces += [LinuxNamespace(type: .user), LinuxNamespace(type: .time)]
                $0.linux?.uidMappings = [LinuxIDMapping(containerID: 0, hostID: 100_000, size: 65536)]
                $0.linux?.gidMappings = [LinuxIDMapping(containerID: 0, hostID: 100_000, size: 65536)]
                $0.linux?.timeOffsets = ["boottime": LinuxTimeOffset(secs: 5_000_000)]
            }
            let out = try machine.stream()
            var own = process("id -u; cat /proc/self/uid_map; cat /proc/uptime; cat /proc/self/oom_score_adj")
            own.oomScoreAdj = 300
            _ = try machine.exec("c", "e", own, stdout: out.id)
            let text = try machine.readToEnd(out.end)
            #expect(text.hasPrefix("0\n         0     100000      65536\n5"))
            #expect(text.hasSuffix("\n300\n"))
            try machine.end("c")
        }

        @Test("fifty at once, each with its own output")
        func many() throws {
            try machine.sleeper("c")
            var outputs: [(id: UInt64, end: Descriptor)] = []
            for number in 0..<50 {
                let out = try machine.stream()
                outputs.append(out)
                let request = ExecRequest.with {
                    $0.containerID = "c"
                    $0.execID = "e\(number)"
                    $0.process = .init((try? JSON.encode(process("echo \(number); exit \(number)")))?.utf8 ?? "".utf8)
                    $0.streams.stdout = out.id
                }
                machine.client.call(AgentMethods.exec, request, deadline: 20_000_000_000) { _ in }
            }
            for (number, out) in outputs.enumerated() {
                #expect(try machine.readToEnd(out.end) == "\(number)\n")
                #expect(try machine.wait("c", exec: "e\(number)").exitStatus == UInt32(number))
            }
            try machine.end("c")
        }

        @Test("its end tells how much it has written, read or not, whoever else holds its streams")
        func outputCounts() throws {
            try machine.sleeper("c")
            let (out, errors) = (try machine.stream(), try machine.stream())
            _ = try machine.exec("c", "e", process("sleep 1000 & echo hello; echo bad >&2"), stdout: out.id, stderr: errors.id)
            let end = try machine.wait("c", exec: "e")
            #expect(end.hasOutput)
            #expect(end.output.stdout == 6)
            #expect(end.output.stderr == 4)
            // More than a connection takes before somebody reads.
            let large = try machine.stream()
            _ = try machine.exec("c", "f", process("head -c 60000 /dev/zero; true"), stdout: large.id)
            #expect(try machine.wait("c", exec: "f").output.stdout == 60000)
            #expect(try machine.readToEnd(large.end).utf8.count == 60000)
            try machine.end("c")
        }

        @Test("three hundred execs leave no descriptor behind")
        func leaks() throws {
            try machine.sleeper("c")
            func openDescriptors() throws -> Int { try Descriptor.open("/proc/self/fd", O_RDONLY | O_DIRECTORY).entryNames().count }
            func run(_ number: Int) throws {
                let out = try machine.stream()
                _ = try machine.exec("c", "e\(number)", OCI.Process(args: ["/bin/true"]), stdout: out.id)
                _ = try machine.readToEnd(out.end)
                _ = try machine.wait("c", exec: "e\(number)")
            }
            for number in 0..<10 { try run(number) }
            let before = try openDescriptors()
            for number in 10..<310 { try run(number) }
            // Other tests open some meanwhile.
            #expect(try openDescriptors() < before + 100)
            try machine.end("c")
        }
    }
}
