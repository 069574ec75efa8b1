import Glibc
import Linux
import OCI
import Testing

@Suite("microvm run")
struct RunTests {
    let host = try! TestHost()

    @Test("the exit code, output and errors are the container's, and nothing is left")
    func basics() throws {
        try host.script("echo out; echo err >&2; exit 42")
        let ended = try host.microvm("run", host.bundle)
        #expect(ended.status == 42)
        #expect(ended.output == "out\n")
        #expect(ended.errors == "err\n")
        #expect(host.leftovers == [])
        #expect(try host.machines() == [])
    }

    @Test("the configuration can have another name", arguments: ["--config", "-f"])
    func otherConfiguration(option: String) throws {
        try host.script("exit 6")
        try #require(rename("\(host.bundle)/config.json", "\(host.bundle)/other.json") == 0)
        #expect(try host.microvm("run", option, "other.json", host.bundle).status == 6)
        #expect(try host.microvm("run", option, "\(host.bundle)/other.json", host.bundle).status == 6)
        #expect(try host.microvm("run", option, "no.json", host.bundle).errors.contains("no.json: no such file"))
    }

    @Test("a working directory that is missing is made, in a read-only root file system too")
    func workingDirectory() throws {
        try host.script("pwd") {
            $0.root?.readonly = true
            $0.process?.cwd = "/made/deep"
        }
        #expect(try host.microvm("run", host.bundle).status == 0)
        #expect(access("\(host.bundle)/rootfs/made/deep", F_OK) == 0)
    }

    @Test("an end by signal is 128 and the signal")
    func signalled() throws {
        try host.script("kill -9 $$")
        #expect(try host.microvm("run", host.bundle).status == 137)
    }

    @Test("input arrives with its end, and megabytes come back whole")
    func volume() throws {
        try host.script("cat")
        var data = [UInt8](repeating: 0, count: 8 << 20)
        for index in data.indices { data[index] = UInt8(truncatingIfNeeded: index &* 31 >> 3) }
        let file = try Descriptor.open("\(host.path)/data", O_RDWR | O_CREAT, mode: 0o600)
        try file.writeAll(data)
        let ended = try host.start(["run", host.bundle], input: Descriptor.open("\(host.path)/data", O_RDONLY)).wait()
        #expect(ended.status == 0)
        #expect(try Descriptor.open("\(host.path)/1.out", O_RDONLY).readToEnd() == data)
    }

    @Test("a reader that goes away ends a program that goes on writing")
    func readerGone() throws {
        try host.script("while :; do echo yes || exit 9; done")
        var pipe: (reading: Descriptor?, writing: Descriptor?) = try Descriptor.pipe()
        let running = try host.start(["run", host.bundle], output: pipe.writing)
        pipe.writing = nil
        #expect(try pipe.reading?.read(upTo: 100).isEmpty == false)
        pipe.reading = nil
        #expect([9, 141].contains(try running.wait().status))
    }

    @Test("a program that is not there is 127 and one that cannot be executed 126, each on one line that names it")
    func programs() throws {
        try host.script("") { $0.process?.args = ["/no/such/program"] }
        let missing = try host.microvm("run", host.bundle)
        #expect(missing.status == 127)
        #expect(missing.errors.contains("/no/such/program"))
        #expect(missing.errors.filter { $0 == "\n" }.count == 1)
        try host.script("") { $0.process?.args = ["/etc/passwd"] }
        #expect(try host.microvm("run", host.bundle).status == 126)
        #expect(host.leftovers == [])
    }

    @Test(
        "bad input is refused by kind, on one line, with nothing left",
        arguments: [
            (["run", "/no/such/bundle"], 66, "/no/such/bundle"),
            (["run", "--kernel", "/no/kernel", "BUNDLE"], 66, "/no/kernel"),
            (["run", "--vmm", "/no/vmm", "BUNDLE"], 66, "/no/vmm"),
            (["run", "--memory", "8M", "BUNDLE"], 64, "--memory"),
            (["run", "--memory", "lots", "BUNDLE"], 64, "--memory"),
            (["run", "--cpus", "17", "BUNDLE"], 64, "--cpus"),
            (["run", "--preserve-fds=-1", "BUNDLE"], 64, "--preserve-fds"),
            (["run", "--console-socket", "/s", "BUNDLE"], 65, "console socket"),
            (["run", "--pid-file", "/no/dir/pid", "BUNDLE"], 66, "--pid-file"),
            (["run", "-b", "BUNDLE", "a/b"], 64, "a/b"),
        ] as [([String], Int32, String)])
    func refused(arguments: [String], status: Int32, text: String) throws {
        let ended = try host.start(arguments.map { $0 == "BUNDLE" ? host.bundle : $0 }).wait()
        #expect(ended.status == status)
        #expect(ended.errors.contains(text))
        #expect(ended.errors.filter { $0 == "\n" }.count == 1)
        #expect(host.leftovers == [])
        #expect(try host.machines() == [])
    }

    @Test("a config that is malformed, or asks for what cannot be, is 65 and names the field")
    func config() throws {
        try host.write("bundle/config.json", "{\n  oops\n}")
        #expect(try host.microvm("run", host.bundle).status == 65)
        try host.script("true") { $0.mounts.append(Mount(destination: "/x", type: "bind", source: "/no/such/source", options: ["bind"])) }
        let missing = try host.microvm("run", host.bundle)
        #expect(missing.status == 66)
        #expect(missing.errors.contains("mounts[7].source"))
        try host.script("true") { $0.mounts.append(Mount(destination: "/x", type: "bind", source: "/dev/kmsg", options: ["bind"])) }
        #expect(try host.microvm("run", host.bundle).status == 65)
        #expect(host.leftovers == [])
    }

    @Test("a rootfs, directories and files are shared, read-only where the spec says so")
    func shares() throws {
        try host.write("file", "x")
        try host.script("echo $SHARES; echo $SIZE") {
            $0.root?.readonly = true
            $0.mounts.append(Mount(destination: "/a", type: "bind", source: host.path, options: ["rbind", "rw"]))
            $0.mounts.append(Mount(destination: "/b", source: host.path + "/file", options: ["bind", "ro"]))
        }
        let ended = try host.microvm("run", "--cpus", "3", "--memory", "64M", host.bundle)
        #expect(ended.output == "rootfs:ro:auto:mapped mount7:rw:auto mount8:ro:auto\n3 67108864\n")
    }

    @Test("signals go to the container, whose answer comes back")
    func signals() throws {
        try host.script("trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.05; done")
        let running = try host.start(["run", host.bundle])
        try running.waitForOutput("ready")
        kill(running.child.pid, SIGTERM)
        let ended = try running.wait()
        #expect(ended.status == 7)
        #expect(ended.output == "ready\ncaught\n")
    }

    @Test("a signal during the boot ends the start")
    func interrupted() throws {
        let running = try host.start(["run", host.bundle], fault: "hangs")
        try eventually("a machine") { try !host.machines().isEmpty }
        kill(running.child.pid, SIGTERM)
        #expect(try running.wait().status == 143)
        #expect(host.leftovers == [])
        #expect(try host.machines() == [])
    }

    @Test(
        "each way a machine can end has its status and a line that says so",
        arguments: [
            ("fails", 120, "truncated"), ("panicsAtBoot", 121, "panic"), ("panicsAtStart", 121, "panic"), ("otherVersion", 123, "version 99"),
            ("agentLeaves", 120, "monitor"),
        ] as [(String, Int32, String)])
    func faults(fault: String, status: Int32, text: String) throws {
        let ended = try host.microvm("run", host.bundle, fault: fault)
        #expect(ended.status == status)
        #expect(ended.errors.contains(text), "\(ended.errors)")
        #expect(ended.errors.filter { $0 == "\n" }.count == 1)
        #expect(host.leftovers == [])
        #expect(try host.machines() == [])
    }

    @Test("a machine that is killed is 120")
    func machineKilled() throws {
        try host.script("echo ready; exec sleep 1000")
        let running = try host.start(["run", host.bundle])
        try running.waitForOutput("ready")
        for machine in try host.machines() { kill(machine, SIGKILL) }
        let ended = try running.wait()
        #expect(ended.status == 120)
        #expect(ended.errors.contains("monitor"))
        #expect(host.leftovers == [])
    }

    @Test("a command that is killed takes its machine along, and the next one sweeps up")
    func commandKilled() throws {
        try host.script("echo ready; exec sleep 1000")
        let running = try host.start(["run", host.bundle])
        try running.waitForOutput("ready")
        kill(running.child.pid, SIGKILL)
        _ = try running.wait()
        try eventually("no machine") { try host.machines().isEmpty }
        #expect(host.leftovers.count == 1)
        try host.script("true")
        #expect(try host.microvm("run", host.bundle).status == 0)
        #expect(host.leftovers == [])
    }

    @Test("a guest that takes no signals is ended")
    func deaf() throws {
        try host.script("echo ready; exec sleep 1000")
        let running = try host.start(["run", host.bundle], fault: "deafToSignals")
        try running.waitForOutput("ready")
        kill(running.child.pid, SIGTERM)
        #expect(try running.wait().status == 124)
        #expect(try host.machines() == [])
    }

    @Test("a guest that has written everything back is ended at once, whatever it does then")
    func staysOn() throws {
        try host.script("echo done; exit 7")
        let began = monotonicNanoseconds()
        let ended = try host.microvm("run", host.bundle, fault: "staysOn")
        #expect(ended.status == 7)
        #expect(ended.output == "done\n")
        // A guest that did not answer would have five seconds.
        #expect(monotonicNanoseconds() - began < 4_500_000_000)
        #expect(try host.machines() == [])
    }

    @Test("open pipes and connections are passed on and carried, until either side closes them", arguments: [["run"], ["run", "--detach"]])
    func passed(command: [String]) throws {
        var input: (reading: Descriptor?, writing: Descriptor?) = try Descriptor.pipe()
        var output: (reading: Descriptor, writing: Descriptor?) = try Descriptor.pipe()
        var connection: (ours: Descriptor, theirs: Descriptor?) = try Descriptor.socketPair()
        let numbers = [input.reading, output.writing, connection.theirs].compactMap { $0?.raw }
        try host.script("") {
            let script = "cat <&$FD\(numbers[0]) >&$FD\(numbers[1]); read line <&$FD\(numbers[2]); echo got $line >&$FD\(numbers[2])"
            $0.process?.args = ["/bin/bash", "-c", script]
        }
        let arguments = command + ["--preserve-fds", "\((numbers.max() ?? 0) - 2)", "--bundle", host.bundle, "c"]
        let running = try host.start(arguments, inherited: [input.reading, output.writing, connection.theirs].compactMap(\.self))
        (input.reading, output.writing, connection.theirs) = (nil, nil, nil)
        try input.writing?.writeAll("carried")
        input.writing = nil
        try connection.ours.writeAll("line\n")
        #expect(try String(decoding: output.reading.readToEnd(), as: UTF8.self) == "carried")
        #expect(try String(decoding: connection.ours.readToEnd(), as: UTF8.self) == "got line\n")
        #expect(try running.wait().status == 0)
        try host.microvm("delete", "--force", "c")
    }

    @Test("open files that cannot be passed are refused by number and kind")
    func refusedDescriptors() throws {
        let file = try Descriptor.open("\(host.bundle)/config.json", O_RDWR)
        let listener = try Descriptor.listening(at: .unix("\(host.path)/listener"))
        for (descriptor, kind) in [(file, "open to be read and written"), (listener, "a socket that listens")] {
            let arguments = ["run", "--preserve-fds", "\(descriptor.raw - 2)", host.bundle]
            #expect(try host.start(arguments, inherited: [descriptor]).wait().errors.contains("descriptor \(descriptor.raw) is \(kind)"))
        }
        #expect(host.leftovers == [])
    }

    @Test("a service manager's descriptors are told to the container, as its own")
    func listening() throws {
        try host.script("echo $LISTEN_FDS $LISTEN_PID")
        #expect(try host.start(["run", host.bundle], environment: ["LISTEN_FDS=1"]).wait().output == "1 1\n")
        #expect(try host.start(["run", host.bundle], environment: ["LISTEN_FDS=1", "LISTEN_PID=1"]).wait().output == "\n")
    }

    @Test("a hook without an environment has the caller's, one with an empty one has none", arguments: [["run"], ["run", "--detach"]])
    func hookEnvironment(command: [String]) throws {
        try host.script("true") {
            var hooks = Hooks()
            hooks.prestart = [
                Hook(path: "/bin/sh", args: ["sh", "-c", "echo $MARK >>\(host.path)/hooks"]),
                Hook(path: "/bin/sh", args: ["sh", "-c", "echo ${MARK-none} >>\(host.path)/hooks"], env: []),
            ]
            $0.hooks = hooks
        }
        #expect(try host.start(command + ["--bundle", host.bundle, "c"], environment: ["MARK=seen"]).wait().status == 0)
        #expect(try host.read("hooks") == "seen\nnone\n")
        try host.microvm("delete", "--force", "c")
    }

    @Test("hooks of the host run in their order with the state, and a failing one ends the start")
    func hooks() throws {
        try host.script("echo program") {
            var hooks = Hooks()
            func hook(_ name: String) -> Hook {
                Hook(path: "/bin/sh", args: ["sh", "-c", "echo \(name) $(grep -o '\"status\":\"[a-z]*\"') >>\(host.path)/hooks"], env: ["PATH=/usr/bin:/bin"])
            }
            hooks.prestart = [hook("prestart")]
            hooks.createRuntime = [hook("createRuntime")]
            hooks.poststart = [hook("poststart")]
            hooks.poststop = [hook("poststop")]
            $0.hooks = hooks
        }
        #expect(try host.microvm("run", host.bundle).status == 0)
        #expect(
            try host.read("hooks")
                == "prestart \"status\":\"created\"\ncreateRuntime \"status\":\"creating\"\npoststart \"status\":\"running\"\npoststop \"status\":\"stopped\"\n")
        try host.script("true") {
            var hooks = Hooks()
            hooks.createRuntime = [Hook(path: "/bin/sh", args: ["sh", "-c", "echo no luck >&2; exit 3"])]
            $0.hooks = hooks
        }
        let failed = try host.microvm("run", host.bundle)
        #expect(failed.status != 0)
        #expect(failed.errors.contains("hooks.createRuntime[0]") && failed.errors.contains("no luck"))
        #expect(host.leftovers == [])
    }

    @Test("the start's ledger is there afterwards, and names the slowest step")
    func ledger() throws {
        #expect(try host.microvm("run", "--bundle", host.bundle, "the-one").status == 0)
        let why = try host.microvm("why", "the-one")
        #expect(why.status == 0)
        for stage in ["process", "plan", "spawn", "kernel", "agent", "create", "start", "slowest step"] { #expect(why.output.contains(stage)) }
        #expect(try host.microvm("why", "other").status == 66)
        let timed = try host.microvm("run", "--timing", host.bundle)
        #expect(timed.errors.contains("started in"))
    }

    @Test("errors go to the log in JSON, and as they are to standard error")
    func log() throws {
        let ended = try host.microvm("run", "--log", "\(host.path)/log", "--log-format", "json", "/no/bundle")
        #expect(ended.errors == "/no/bundle: no such bundle\n")
        #expect(try host.read("log").contains(#""level":"error","msg":"/no/bundle: no such bundle""#))
    }
}
