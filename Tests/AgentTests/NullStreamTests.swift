import AgentAPI
import Glibc
import Linux
import OCI
import Testing

@testable import Agent

extension RealContainers {
    /// Standard streams the host has nothing for.
    @Suite("Streams that are nothing")
    struct NullStreamTests {
        let machine: Machine

        init() throws {
            machine = try Machine()
        }

        /// What the process has as standard input: kind, numbers, and whether it is the container's own null device; what is read from it.
        private static let look = """
            stat -L -c '%F %t %T' /proc/self/fd/0; readlink /proc/self/fd/0
            [ "$(stat -L -c %d:%i /proc/self/fd/0)" = "$(stat -c %d:%i /dev/null)" ] && echo own
            cat; echo more >&2; echo end
            """

        private func output(_ change: (inout Spec) -> Void = { _ in }) throws -> [Substring] {
            var spec = machine.spec(Self.look)
            change(&spec)
            let out = try machine.stream()
            _ = try machine.create("null", spec, stdout: out.id)
            try machine.start("null")
            let text = try machine.readToEnd(out.end)
            #expect(try machine.wait("null").exitStatus == 0)
            try machine.delete("null")
            return text.split(separator: "\n")
        }

        @Test("a container has its own null device then")
        func own() throws {
            #expect(try output() == ["character special file 1 3", "/dev/null", "own", "end"])
        }

        @Test("one whose user is not root, or whose /dev was made ahead, too")
        func others() throws {
            _ = try machine.call(AgentMethods.prepareContainer, .with { $0.spec = .init(try! JSON.encode(machine.spec("true")).utf8) })
            #expect(try output { $0.process?.user = User(uid: 1000, gid: 1000) } == ["character special file 1 3", "/dev/null", "own", "end"])
        }

        @Test("where /dev/null may be anything, a container has the agent's")
        func foreign() throws {
            try Descriptor.open("\(machine.root)/dev/null", O_WRONLY | O_CREAT, mode: 0o666).writeAll("not nothing\n")
            let withoutDevices = try output { $0.mounts.removeAll { $0.destination.hasPrefix("/dev") } }
            #expect(withoutDevices == ["character special file 1 3", "/dev/null", "end"])
            let covered = try output {
                $0.mounts.append(Mount(destination: "/dev/null", type: "bind", source: "\(machine.root)/etc/passwd", options: ["bind"]))
            }
            #expect(covered == ["character special file 1 3", "/dev/null", "end"])
            let unusable = try output {
                for index in $0.mounts.indices where $0.mounts[index].destination == "/dev" { $0.mounts[index].options.append("nodev") }
            }
            #expect(unusable == ["character special file 1 3", "/dev/null", "end"])
        }

        @Test("an exec has a null device for each")
        func exec() throws {
            try machine.sleeper("c")
            let out = try machine.stream()
            let command = "for n in 0 2; do stat -L -c '%F %t %T' /proc/self/fd/$n; done; cat; echo more >&2"
            var process = OCI.Process(args: ["/bin/sh", "-c", command], env: ["PATH=/bin"])
            process.capabilities = LinuxCapabilities()
            _ = try machine.exec("c", "e", process, stdout: out.id)
            #expect(try machine.readToEnd(out.end) == "character special file 1 3\ncharacter special file 1 3\n")
            #expect(try machine.wait("c", exec: "e").exitStatus == 0)
            try machine.end("c")
        }

        @Test("streams that are something wait for their reader and writer")
        func blocking() throws {
            let (input, out, error) = (try machine.stream(), try machine.stream(), try machine.stream())
            let spec = machine.spec("grep flags /proc/self/fdinfo/0 /proc/self/fdinfo/1 /proc/self/fdinfo/2")
            _ = try machine.create("pipes", spec, stdin: input.id, stdout: out.id, stderr: error.id)
            try machine.start("pipes")
            // O_RDONLY and O_WRONLY, with nothing else.
            let flags = try machine.readToEnd(out.end).split(separator: "\n").compactMap { $0.split(whereSeparator: \.isWhitespace).last }
            #expect(flags == ["00", "01", "01"])
            _ = try machine.wait("pipes")
            try machine.delete("pipes")
        }
    }
}
