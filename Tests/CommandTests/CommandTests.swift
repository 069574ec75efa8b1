import ArgumentParser
import Testing

@testable import microvm

@Suite struct CommandLineTests {
    @Test(
        "global options before the subcommand move behind it; others leave the line alone",
        arguments: [
            (["--root", "/r", "run", "b"], ["run", "--root", "/r", "b"]),
            (["--log=/l", "--log-format", "json", "--debug", "run", "-b", "x", "id"], ["run", "--log=/l", "--log-format", "json", "--debug", "-b", "x", "id"]),
            (["run", "--root", "/r", "b"], ["run", "--root", "/r", "b"]),
            (["--systemd-cgroup", "--rootless", "auto", "--criu=x", "state", "id"], ["state", "id"]),
            (["--root", "/r", "template", "build", "--cpus", "2"], ["template", "build", "--root", "/r", "--cpus", "2"]),
            (["--root", "/r", "template", "--help"], ["template", "--root", "/r", "--help"]),
            (["--help"], ["--help"]),
            (["--root", "/r", "--help"], ["--root", "/r", "--help"]),
            (["-v"], ["--version"]),
            (["-version"], ["--version"]),
            (
                ["-root=/r", "create", "-bundle", "b", "-no-pivot", "-pid-file", "-b", "id"],
                ["create", "--root=/r", "--bundle", "b", "--no-pivot", "--pid-file", "-b", "id"]
            ),
            (["exec", "-t", "-user", "1", "-d", "id", "ls", "-all"], ["exec", "-t", "--user", "1", "-d", "id", "ls", "-all"]),
            (["exec", "-e", "exec", "id", "-help"], ["exec", "-e", "exec", "id", "-help"]),
            (["kill", "-all", "id", "9"], ["kill", "--all", "id", "9"]),
            (["run", "--", "-bundle"], ["run", "--", "-bundle"]),
            (["--root"], ["--root"]),
            ([], []),
        ])
    func normalized(line: [String], wanted: [String]) {
        #expect(CommandLineArguments.normalized(line) == wanted)
    }

    /// The parser makes names of types' names otherwise, which takes a third of a command's start.
    @Test("every command says its name")
    func names() {
        var commands: [any ParsableCommand.Type] = [Microvm.self]
        while let command = commands.popLast() {
            #expect(command.configuration.commandName != nil, "\(command)")
            commands += command.configuration.subcommands
        }
    }

    @Test("log lines are logrus text or JSON, with the message quoted")
    func logLines() {
        let line = LogLine(level: .error, message: "no \"such\"\nthing\u{1}", nanosecondsSinceEpoch: 1_700_000_000_999_999_999)
        #expect(line.text(.text) == #"time="2023-11-14T22:13:20Z" level=error msg="no \"such\"\nthing\u0001""# + "\n")
        #expect(line.text(.json) == #"{"level":"error","msg":"no \"such\"\nthing\u0001","time":"2023-11-14T22:13:20Z"}"# + "\n")
    }
}
