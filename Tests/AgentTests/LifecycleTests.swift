import AgentAPI
import Glibc
import Linux
import OCI
import TTRPC
import Testing

@testable import Agent

extension RealContainers {
    @Suite("A container's life")
    struct LifecycleTests {
        let machine: Machine

        init() throws {
            machine = try Machine()
        }

        @Test("create waits for start; each verb is refused in the states it is not for")
        func states() throws {
            _ = try machine.create("c", machine.spec("/bin/sleep", "1000"))
            expectStatus(.alreadyExists) { _ = try machine.create("c", machine.spec("true")) }
            expectStatus(.failedPrecondition) { try machine.delete("c") }
            let created = try machine.call(AgentMethods.listProcesses, .with { $0.containerID = "c" })
            #expect(created.processes.count == 1)
            try machine.start("c")
            expectStatus(.failedPrecondition) { try machine.start("c") }
            expectStatus(.failedPrecondition) { try machine.delete("c") }
            try machine.kill("c")
            #expect(try machine.wait("c").exitStatus == 137)
            expectStatus(.failedPrecondition) { try machine.start("c") }
            expectStatus(.failedPrecondition) { try machine.kill("c") }
            try machine.delete("c")
            expectStatus(.notFound) { try machine.delete("c") }
            expectStatus(.failedPrecondition) { try machine.start("c") }
        }

        @Test("a created container can be killed and deleted")
        func neverStarted() throws {
            _ = try machine.create("c", machine.spec("true"))
            try machine.kill("c")
            #expect(try machine.wait("c").exitStatus == 137)
            try machine.delete("c")
        }

        @Test("everybody who waits is answered, before the end and after it")
        func waiters() throws {
            try machine.sleeper("c")
            var answers: [UInt32] = []
            for _ in 0..<5 {
                machine.client.call(AgentMethods.wait, .with { $0.containerID = "c" }, deadline: 20_000_000_000) {
                    if let status = try? $0.get().exitStatus { answers.append(status) }
                }
            }
            try machine.kill("c", SIGKILL)
            try machine.run { answers.count == 5 }
            #expect(answers == [137, 137, 137, 137, 137])
            #expect(try machine.wait("c").exitStatus == 137)
            #expect(try machine.wait("c").exitedAtNs > 1_600_000_000_000_000_000)
            try machine.delete("c")
        }

        @Test("a signal reaches init if it wants it; all of them reach everybody")
        func signals() throws {
            let out = try machine.stream()
            _ = try machine.create("c", machine.spec("trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.1; done"), stdout: out.id)
            try machine.start("c")
            #expect(try machine.readToEnd(out.end, limit: 6) == "ready\n")
            try machine.kill("c", SIGTERM)
            #expect(try machine.readToEnd(out.end) == "got\n")
            #expect(try machine.wait("c").exitStatus == 3)
            try machine.delete("c")
            try machine.sleeper("d")
            try machine.kill("d", SIGKILL, all: true)
            #expect(try machine.wait("d").exitStatus == 137)
            try machine.delete("d")
            expectStatus(.invalidArgument) {
                try machine.sleeper("e")
                defer { try? machine.end("e") }
                try machine.kill("e", 99)
            }
        }

        @Test("without a PID namespace of its own, what init leaves behind ends with it")
        func sharedProcesses() throws {
            var spec = machine.spec("sleep 1000 & echo $!")
            spec.linux?.namespaces.removeAll { $0.type == .pid }
            let out = try machine.stream()
            _ = try machine.create("c", spec, stdout: out.id)
            try machine.start("c")
            let pid = Int32(try machine.readToEnd(out.end).split(separator: "\n").first ?? "") ?? 0
            #expect(try machine.wait("c").exitStatus == 0)
            try machine.delete("c")
            // A zombie, or nothing.
            #expect(((try? Descriptor.open("/proc/\(pid)/cmdline", O_RDONLY).readToEnd()) ?? []).isEmpty)
        }

        @Test("a paused container does nothing until it is resumed, and can be killed")
        func pause() throws {
            let out = try machine.stream()
            _ = try machine.create("c", machine.spec("while :; do echo tick; done"), stdout: out.id)
            try machine.start("c")
            _ = try machine.call(AgentMethods.pause, .with { $0.containerID = "c" })
            expectStatus(.failedPrecondition) { _ = try machine.call(AgentMethods.pause, .with { $0.containerID = "c" }) }
            expectStatus(.failedPrecondition) { _ = try machine.exec("c", "e", OCI.Process(args: ["/bin/true"])) }
            _ = try machine.call(AgentMethods.resume, .with { $0.containerID = "c" })
            expectStatus(.failedPrecondition) { _ = try machine.call(AgentMethods.resume, .with { $0.containerID = "c" }) }
            _ = try machine.exec("c", "e", OCI.Process(args: ["/bin/true"]))
            #expect(try machine.wait("c", exec: "e").exitStatus == 0)
            _ = try machine.call(AgentMethods.pause, .with { $0.containerID = "c" })
            try machine.end("c")
        }

        @Test("its processes are listed, those of an exec under its id")
        func processes() throws {
            try machine.sleeper("c")
            _ = try machine.exec("c", "e", OCI.Process(args: ["/bin/sh", "-c", "/bin/sleep 500; true"]))
            var list: [ListProcessesResponse.Process] = []
            try machine.run {
                list = (try? machine.call(AgentMethods.listProcesses, .with { $0.containerID = "c" }).processes) ?? []
                // A process is read file by file: during its exec, the old name stands beside the new command.
                return list.contains { $0.command == "/bin/sleep 500" && $0.name == "sleep" && $0.state.hasPrefix("S") }
            }
            #expect(list.first { $0.command == "/bin/sleep 1000" }?.execID == "")
            #expect(list.first { $0.command == "/bin/sleep 500" }?.execID == "e")
            #expect(list.first { $0.command.hasPrefix("/bin/sh") }?.execID == "e")
            let sleeper = try #require(list.first { $0.command == "/bin/sleep 500" })
            #expect(sleeper.terminal == "?")
            #expect(sleeper.parent == list.first { $0.command.hasPrefix("/bin/sh") }?.pid)
            #expect(sleeper.user == 0 && sleeper.residentKibibytes > 0 && sleeper.virtualKibibytes > 0 && sleeper.millisecondsSinceStart < 60_000)
            try machine.end("c")
        }

        @Test("a stream that never comes is a deadline, not a hang")
        func missingStream() throws {
            let request = CreateContainerRequest.with {
                $0.containerID = "c"
                $0.spec = .init((try? JSON.encode(machine.spec("true")))?.utf8 ?? "".utf8)
                $0.streams.stdout = 999
            }
            expectStatus(.deadlineExceeded) { _ = try machine.call(AgentMethods.createContainer, request, seconds: 29) }
            _ = try machine.create("c", machine.spec("true"))
            try machine.kill("c")
            _ = try machine.wait("c")
            try machine.delete("c")
        }

        @Test("ids that are no names, specs that are none")
        func nonsense() throws {
            for id in ["", ".", "..", "a/b", ".hidden", "a b", String(repeating: "x", count: 300)] {
                expectStatus(.invalidArgument) { _ = try machine.create(id, machine.spec("true")) }
            }
            expectStatus(.invalidArgument) { _ = try machine.call(AgentMethods.createContainer, .with { $0.containerID = "c"; $0.spec = .init("{".utf8) }) }
            var spec = machine.spec("true")
            spec.process = nil
            expectStatus(.invalidArgument) { _ = try machine.create("c", spec) }
            expectStatus(.invalidArgument) {
                _ = try machine.call(AgentMethods.createContainer, .with { $0.containerID = "c"; $0.spec = .init((try? JSON.encode(machine.spec("true")))?.utf8 ?? "".utf8); $0.streams = .with { $0.stdout = 5; $0.stderr = 5 } })
            }
        }

        @Test("numbers come by file and key, limits that cannot be had by field")
        func numbers() throws {
            try machine.sleeper("c")
            let values = try machine.call(AgentMethods.stats, .with { $0.containerID = "c" }).values
            #expect(values["cgroup.stat/nr_descendants"] == 0)
            #expect(values["cpu.stat/usage_usec"] != nil)
            let resources = #"{"unified": {"memory.nonsense": "1"}}"#
            expectStatus(.invalidArgument) {
                _ = try machine.call(AgentMethods.update, .with { $0.containerID = "c"; $0.resources = .init(resources.utf8) })
            }
            try machine.end("c")
        }

        @Test("power-off ends every container, then the machine")
        func powerOff() throws {
            try machine.sleeper("c")
            _ = try machine.call(AgentMethods.powerOff, Empty())
            #expect(try machine.wait("c").exitStatus == 137)
            try machine.run { machine.isOff.isRaised }
            try machine.delete("c")
        }

        @Test("the handshake agrees on a version or says which there are")
        func handshake() throws {
            let response = try machine.call(AgentMethods.connect, .with { $0.minVersion = 1; $0.maxVersion = 7 })
            #expect(response.version == 1)
            #expect(!response.kernelRelease.isEmpty)
            expectStatus(.failedPrecondition) { _ = try machine.call(AgentMethods.connect, .with { $0.minVersion = 2; $0.maxVersion = 3 }) }
        }

        @Test("a hundred containers, one after the other, leave no descriptor and no cgroup behind")
        func leaks() throws {
            func openDescriptors() throws -> Int { try Descriptor.open("/proc/self/fd", O_RDONLY | O_DIRECTORY).entryNames().count }
            _ = try machine.output(of: machine.spec("true"))
            let before = try openDescriptors()
            for _ in 0..<100 { _ = try machine.output(of: machine.spec("true")) }
            #expect(try openDescriptors() < before + 50)
        }
    }
}
