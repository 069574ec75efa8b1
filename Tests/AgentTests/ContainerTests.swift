import AgentAPI
import Glibc
import Linux
import OCI
import TTRPC
import Testing

@testable import Agent

/// Real containers in this machine's kernel, asked for as the host does.
@Suite("Containers", .enabled(if: Machine.canRun), .serialized)
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
