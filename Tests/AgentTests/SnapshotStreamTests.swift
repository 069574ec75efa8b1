import AgentAPI
import Glibc
import Linux
import OCI
import TTRPC
import Testing

@testable import Agent

extension RealContainers {
    /// Streams of a container whose machine is saved, and goes on with another host.
    @Suite("Streams and snapshots")
    struct SnapshotStreamTests {
        let machine: Machine

        init() throws {
            machine = try Machine()
        }

        /// A line, without waiting for the stream's end.
        private func line(_ stream: Descriptor) throws -> String {
            var bytes: [UInt8] = []
            try machine.run {
                if stream.isReady(for: .readable) { bytes += (try? stream.read(upTo: 1)) ?? [] }
                return bytes.last == UInt8(ascii: "\n")
            }
            return String(decoding: bytes, as: UTF8.self)
        }

        private func hold(_ id: String) throws -> HoldStreamsResponse { try machine.call(AgentMethods.holdStreams, .with { $0.containerID = id }) }

        @Test("held, nothing moves and the bytes so far are told; released, all of it arrives")
        func hold() throws {
            let (input, output, errors) = (try machine.stream(), try machine.stream(), try machine.stream())
            _ = try machine.create(
                "held", machine.spec("echo ready; read x; echo $x; echo problem >&2; read x"), stdin: input.id, stdout: output.id, stderr: errors.id)
            try machine.start("held")
            #expect(try line(output.end) == "ready\n")
            let sent = try hold("held")
            #expect(sent.stdout == 6)
            #expect(sent.stderr == 0)
            try input.end.writeAll("word\n")
            for _ in 0..<10 { try machine.loop.runOnce(milliseconds: 20) }
            #expect(!output.end.isReady(for: .readable))
            _ = try machine.call(AgentMethods.releaseStreams, .with { $0.containerID = "held" })
            #expect(try line(output.end) == "word\n")
            #expect(try line(errors.end) == "problem\n")
            #expect(try hold("held").stdout == 11)
            try machine.end("held")
        }

        @Test("a container whose connections break while held goes on with others, and loses no output")
        func attach() throws {
            var first: [Descriptor]? = []
            var ids: [UInt64] = []
            for _ in 0..<3 {
                let stream = try machine.stream()
                first?.append(stream.end)
                ids.append(stream.id)
            }
            let script = "echo ready; i=0; while read x; do echo $x; echo error-$x >&2; done; echo end"
            _ = try machine.create("moved", machine.spec(script), stdin: ids[0], stdout: ids[1], stderr: ids[2])
            try machine.start("moved")
            _ = try machine.exec("moved", "other", OCI.Process(args: ["/bin/sleep", "1000"]))
            try #expect(line(#require(first?[1])) == "ready\n")
            _ = try hold("moved")
            first = nil
            for _ in 0..<5 { try machine.loop.runOnce(milliseconds: 20) }

            let (input, output, errors) = (try machine.stream(), try machine.stream(), try machine.stream())
            _ = try machine.call(
                AgentMethods.attachStreams,
                .with {
                    $0.containerID = "moved"
                    $0.streams = .with { $0.stdin = input.id; $0.stdout = output.id; $0.stderr = errors.id }
                })
            try input.end.writeAll("one\n")
            #expect(try line(output.end) == "one\n")
            #expect(try line(errors.end) == "error-one\n")
            #expect(try machine.wait("moved", exec: "other").exitStatus == 128 + UInt32(SIGKILL))
            #expect(try hold("moved").stdout == 4)
            _ = try machine.call(AgentMethods.releaseStreams, .with { $0.containerID = "moved" })
            try input.end.shutdown(.writing)
            #expect(try machine.readToEnd(output.end) == "end\n")
            #expect(try machine.wait("moved").exitStatus == 0)
            try machine.delete("moved")
        }

        @Test("a terminal goes on with another connection")
        func terminal() throws {
            let (input, output) = (try machine.stream(), try machine.stream())
            var spec = machine.spec("stty -echo; echo ready; read x; echo got $x; read x")
            spec.process?.terminal = true
            _ = try machine.create("tty", spec, stdin: input.id, stdout: output.id)
            try machine.start("tty")
            #expect(try line(output.end) == "ready\r\n")
            _ = try hold("tty")
            let (newInput, newOutput) = (try machine.stream(), try machine.stream())
            _ = try machine.call(
                AgentMethods.attachStreams,
                .with {
                    $0.containerID = "tty"
                    $0.streams = .with { $0.stdin = newInput.id; $0.stdout = newOutput.id }
                })
            try newInput.end.writeAll("word\n")
            #expect(try line(newOutput.end) == "got word\r\n")
            try machine.end("tty")
        }

        @Test("a container that is not there has no streams")
        func unknown() throws {
            expectStatus(.notFound) { _ = try hold("nobody") }
            expectStatus(.notFound) { _ = try machine.call(AgentMethods.attachStreams, .with { $0.containerID = "nobody" }) }
        }
    }
}
