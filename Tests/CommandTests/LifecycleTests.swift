import Glibc
import Linux
import OCI
import Testing

@Suite("The commands of an OCI runtime")
struct LifecycleTests {
    let host = try! TestHost()

    @Test("create, start, kill, delete: the monitor is the container's process and ends with it")
    func lifecycle() throws {
        try host.script("echo hello; trap 'exit 5' TERM; while :; do sleep 0.05; done")
        let created = try host.start(["create", "--bundle", host.bundle, "--pid-file", "\(host.path)/pid", "c"])
        #expect(try created.wait().status == 0)
        #expect(try host.status("c") == "created")
        let pid = try host.pid("c")
        #expect(try host.read("pid") == "\(pid)")
        #expect(text(created.output) == "")
        #expect(try host.microvm("start", "c").status == 0)
        #expect(try host.status("c") == "running")
        try created.waitForOutput("hello")
        #expect(try host.microvm("start", "c").errors.contains("cannot start an already running container"))
        #expect(try host.microvm("delete", "c").errors.contains("not stopped"))
        #expect(try host.microvm("kill", "c", "SIGTERM").status == 0)
        try eventually("stopped") { try host.status("c") == "stopped" }
        #expect(try host.pid("c") == 0)
        #expect(try host.machines() == [])
        #expect(try host.microvm("kill", "c", "9").errors.contains("container not running"))
        #expect(try host.microvm("kill", "--all", "c", "9").status == 0)
        #expect(try host.microvm("kill", "--all", "c", "0").status == 0)
        #expect(try host.microvm("start", "c").errors.contains("cannot start a container that has stopped"))
        #expect(try host.microvm("delete", "c").status == 0)
        #expect(host.leftovers == [])
    }

    @Test("what is not there: the words engines look for, and status 1")
    func missing() throws {
        for command in ["state", "start", "kill", "delete", "ps", "pause", "resume", "update", "events"] {
            let ended = try host.microvm(command, "nobody")
            #expect(ended.status == 1)
            #expect(ended.errors.contains("does not exist"), "\(command)")
        }
        #expect(try host.microvm("exec", "nobody", "true").status == 255)
        #expect(try host.microvm("delete", "--force", "nobody").status == 0)
        #expect(try host.microvm("checkpoint", "--image-path", "/x", "nobody").errors.contains("does not exist"))
        #expect(try host.microvm("checkpoint", "--lazy-pages", "nobody").errors.contains("--lazy-pages is not supported"))
        #expect(try host.microvm("snapshot", "nobody", "/x").status == 1)
        #expect(try host.microvm("restore", host.path + "/none").status == 66)
        #expect(try host.microvm("list", "--format", "json").output == "null")
    }

    @Test("of several that create one id at once one succeeds, and it is whole")
    func race() throws {
        let all = try (0..<6).map { _ in try host.start(["create", "--bundle", host.bundle, "same"]) }
        let ended = try all.map { try $0.wait() }
        #expect(ended.count { $0.status == 0 } == 1)
        #expect(ended.allSatisfy { $0.status == 0 || $0.errors.contains("container with id exists: same") })
        #expect(host.leftovers == ["same"])
        #expect(try host.machines().count == 1)
        #expect(try host.microvm("delete", "same").status == 0)
        #expect(host.leftovers == [])
        try eventually("no machine") { try host.machines().isEmpty }
    }

    @Test("a monitor that is killed leaves a stopped container, which delete removes, and the id is free again", arguments: [false, true])
    func monitorKilled(started: Bool) throws {
        try host.script("exec sleep 1000")
        #expect(try host.microvm("create", "--bundle", host.bundle, "c").status == 0)
        if started { #expect(try host.microvm("start", "c").status == 0) }
        kill(try host.pid("c"), SIGKILL)
        try eventually("stopped") { try host.status("c") == "stopped" }
        try eventually("no machine") { try host.machines().isEmpty }
        #expect(try host.microvm("delete", "--force", "c").status == 0)
        #expect(host.leftovers == [])
        #expect(try host.microvm("create", "--bundle", host.bundle, "c").status == 0)
        #expect(try host.microvm("delete", "c").status == 0)
    }

    @Test("a create that is killed while the machine boots leaves nothing that runs")
    func createKilled() throws {
        let running = try host.start(["create", "--bundle", host.bundle, "c"], fault: "hangs")
        try eventually("a machine") { try !host.machines().isEmpty }
        kill(running.child.pid, SIGKILL)
        _ = try running.wait()
        try eventually("no machine") { try host.machines().isEmpty }
        try eventually("no state") { host.leftovers == [] }
    }

    @Test("delete --force ends a running container and one whose machine hangs")
    func force() throws {
        try host.script("trap '' TERM; while :; do sleep 1; done")
        #expect(try host.microvm("run", "--detach", "--bundle", host.bundle, "c").status == 0)
        #expect(try host.status("c") == "running")
        #expect(try host.microvm("delete", "--force", "c").status == 0)
        #expect(host.leftovers == [])
        let hanging = try host.start(["create", "--bundle", host.bundle, "d"], fault: "hangs")
        try eventually("a machine") { try !host.machines().isEmpty }
        #expect(try host.microvm("delete", "--force", "d").status == 0)
        #expect(try hanging.wait().status != 0)
        #expect(host.leftovers == [])
        #expect(try host.machines() == [])
    }

    @Test("a start that fails says why, and the container has stopped")
    func failedStart() throws {
        try host.script("") { $0.process?.args = ["/no/such/program"] }
        #expect(try host.microvm("create", "--bundle", host.bundle, "c").status == 0)
        let ended = try host.microvm("start", "c")
        #expect(ended.status == 1)
        #expect(ended.errors.contains("/no/such/program"))
        try eventually("stopped") { try host.status("c") == "stopped" }
        #expect(try host.microvm("delete", "c").status == 0)
    }

    @Test("exec: output, input, status, user's words; detached ones have a process of their own")
    func exec() throws {
        try host.script("exec sleep 1000")
        #expect(try host.microvm("run", "-d", "--bundle", host.bundle, "c").status == 0)
        let ended = try host.microvm("exec", "-e", "A=b", "c", "/bin/sh", "-c", "echo $A; echo err >&2; exit 9")
        #expect(ended.status == 9)
        #expect(ended.output == "b\n")
        #expect(ended.errors == "err\n")
        let missing = try host.microvm("exec", "c", "/no/such")
        #expect(missing.status == 255)
        #expect(missing.errors.contains("/no/such"))

        try host.write("process.json", JSON.encode(OCI.Process(args: ["/bin/sh", "-c", "exec sleep 1000"], cwd: "/")))
        #expect(try host.microvm("exec", "--process", "\(host.path)/process.json", "--detach", "--pid-file", "\(host.path)/pid", "c").status == 0)
        let pid = try #require(Int32(try host.read("pid")))
        let listed = try host.microvm("ps", "--format", "json", "c").output
        #expect(listed == "[\(try host.pid("c")),\(pid)]")
        // Its process on the host gone, the one in the guest goes too.
        kill(pid, SIGKILL)
        #expect(try host.microvm("kill", "c", "KILL").status == 0)
        try eventually("stopped") { try host.status("c") == "stopped" }
        #expect(try host.microvm("exec", "c", "true").errors.contains("not running"))
        #expect(try host.microvm("delete", "c").status == 0)
    }

    @Test("processes nobody executed here are not believed")
    func strangers() throws {
        try host.script("exec sleep 1000")
        #expect(try host.start(["run", "-d", "--bundle", host.bundle, "c"], fault: "strangers").wait().status == 0)
        #expect(try host.microvm("ps", "-f", "json", "c").output == "[\(try host.pid("c"))]")
        #expect(try host.microvm("delete", "-f", "c").status == 0)
    }

    @Test("pause and resume change the state, and only from the right one")
    func pause() throws {
        try host.script("exec sleep 1000")
        #expect(try host.microvm("run", "-d", "--bundle", host.bundle, "c").status == 0)
        #expect(try host.microvm("resume", "c").errors.contains("container not paused"))
        #expect(try host.microvm("pause", "c").status == 0)
        #expect(try host.status("c") == "paused")
        #expect(try host.microvm("exec", "c", "true").errors.contains("paused"))
        #expect(try host.microvm("resume", "c").status == 0)
        #expect(try host.status("c") == "running")
        #expect(try host.microvm("events", "--stats", "c").output.hasPrefix(#"{"type":"stats","id":"c","data":{"cpu":{"usage":{"total":7000"#))
        // The fake agent answers with what it was sent.
        try host.write("resources.json", #"{"cpu":{"shares":0,"quota":20000},"memory":{"limit":0},"pids":{"limit":5}}"#)
        let updated = try host.microvm("update", "--resources", "\(host.path)/resources.json", "c")
        #expect(updated.errors.contains(#"\"cpu\":{\"quota\":20000}"#) && updated.errors.contains(#"\"pids\":{\"limit\":5}"#), "\(updated.errors)")
        #expect(!updated.errors.contains("shares"))
        #expect(try host.microvm("delete", "-f", "c").status == 0)
    }

    @Test("a terminal goes to the console socket, and only there")
    func console() throws {
        try host.script("echo hello") { $0.process?.terminal = true }
        #expect(try host.microvm("create", "--bundle", host.bundle, "c").errors.contains("cannot allocate tty"))
        let listener = try Descriptor.listening(at: .unix("\(host.path)/console"))
        // Engines wait for the end of create's output.
        let reading: Descriptor
        do {
            let pipe = try Descriptor.pipe()
            reading = pipe.reading
            let created = try host.start(
                ["create", "--bundle", host.bundle, "--console-socket", "\(host.path)/console", "c"], output: pipe.writing)
            #expect(try created.wait().status == 0)
        }
        #expect(try reading.waitReadable(atMost: 5_000_000_000))
        #expect(try reading.read(upTo: 1) == [])
        let (bytes, descriptors) = try listener.accept().receive(limit: 100)
        #expect(!bytes.isEmpty)
        let master = try #require(descriptors.first)
        #expect(master.isTerminal)
        #expect(try host.microvm("start", "c").status == 0)
        #expect(try master.waitReadable(atMost: 5_000_000_000))
        #expect(String(decoding: try master.read(upTo: 100), as: UTF8.self) == "hello\n")
        try eventually("stopped") { try host.status("c") == "stopped" }
        #expect(try host.microvm("delete", "c").status == 0)
    }

    @Test("what a detached container closes is closed on the host, and it goes on", arguments: [["run", "--detach"], ["create"], ["exec", "--detach"]])
    func closedStreams(command: [String]) throws {
        let script = "echo said; exec </dev/null >/dev/null 2>&1; exec sleep 1000"
        let isExec = command[0] == "exec"
        try host.script(isExec ? "exec sleep 1000" : script)
        if isExec { #expect(try host.microvm("run", "--detach", "--bundle", host.bundle, "c").status == 0) }
        let reading, feeding: Descriptor
        do {
            let (input, output) = (try Descriptor.pipe(), try Descriptor.pipe())
            (reading, feeding) = (output.reading, input.writing)
            let arguments = isExec ? ["c", "/bin/sh", "-c", script] : ["--bundle", host.bundle, "c"]
            let running = try host.start(command + arguments, input: input.reading, output: output.writing, errors: output.writing)
            #expect(try running.wait().status == 0)
        }
        if command == ["create"] { #expect(try host.microvm("start", "c").status == 0) }
        var said: [UInt8] = []
        var part: [UInt8]
        repeat {
            try #require(try reading.waitReadable(atMost: 10_000_000_000))
            part = try reading.read(upTo: 100)
            said += part
        } while !part.isEmpty
        #expect(String(decoding: said, as: UTF8.self) == "said\n")
        ignoreBrokenPipes()
        try eventually("no reader of the input") { (try? feeding.writeAll([1])) == nil }
        #expect(try host.status("c") == "running")
        #expect(try host.microvm("delete", "--force", "c").status == 0)
    }

    @Test("state of another version, or damaged, is refused and still can be deleted by force")
    func damagedState() throws {
        #expect(try host.microvm("create", "--bundle", host.bundle, "c").status == 0)
        struct Record: Decodable { let monitor: Int32 }
        let monitor = try (JSON.decode(from: Array(host.read("state/c/state.json").utf8)) as Record).monitor
        kill(try host.pid("c"), SIGKILL)
        try eventually("no machine") { try host.machines().isEmpty }
        // It writes the state once more before it ends.
        try eventually("no monitor") { access("/proc/\(monitor)", F_OK) != 0 }
        try host.write("state/c/state.json", "{\"version\":")
        #expect(try host.microvm("state", "c").status == 1)
        #expect(try host.microvm("list", "-q").output == "")
        #expect(try host.microvm("delete", "--force", "c").status == 0)
        #expect(host.leftovers == [])
    }
}
