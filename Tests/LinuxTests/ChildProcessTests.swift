import Glibc
import Linux
import Testing

@Suite("Child processes")
struct ChildProcessTests {
    func shell(_ script: String, _ change: (inout ChildProcess.Options) -> Void = { _ in }) throws -> ChildProcess {
        var options = ChildProcess.Options()
        change(&options)
        return try ChildProcess("/bin/sh", ["sh", "-c", script], options)
    }

    @Test("a child gets its arguments, environment and standard streams, and its exit code comes back")
    func basics() throws {
        let (reading, writing) = try Descriptor.pipe()
        let child = try shell("read x; printf %s \"$WORD$x\"; exit 7") {
            $0.environment = ["WORD=hello"]
            $0.standardOutput = writing
        }
        #expect(child.reap() == .exited(7))
        #expect(try reading.read(upTo: 100) == Array("hello".utf8))
    }

    @Test("only the descriptors named are open in the child")
    func descriptors() throws {
        let (reading, writing) = try Descriptor.pipe()
        let (kept, _) = try Descriptor.pipe()
        let leaked = dup(kept.raw)
        defer { close(leaked) }
        // No pipeline: the shell would hold its pipe for a moment. And not the last command, which the shell may become.
        let child = try shell("ls /proc/$$/fd; exit 0") {
            $0.environment = ["PATH=/bin:/usr/bin"]
            $0.standardOutput = writing
            $0.inherited = [kept]
        }
        #expect(child.reap() == .exited(0))
        let open = String(decoding: try reading.read(upTo: 1000), as: UTF8.self).split(separator: "\n").compactMap { Int32($0) }
        #expect(Set(open) == [0, 1, 2, kept.raw])
    }

    @Test("a child joins namespaces of another process and starts in a directory there", .enabled(if: geteuid() == 0))
    func namespaces() throws {
        let (reading, writing) = try Descriptor.pipe()
        let namespaces = NamespaceFlag.uts | NamespaceFlag.mount
        let other = try shell("echo elsewhere >/proc/sys/kernel/hostname; mount --make-rprivate /; mount -t tmpfs none /mnt; mkdir /mnt/here; echo ready; sleep 1000") {
            $0.environment = ["PATH=/bin:/usr/bin"]
            $0.namespaces = namespaces
            $0.standardOutput = writing
        }
        #expect(try reading.read(upTo: 100) == Array("ready\n".utf8))
        let child = try shell("read name </proc/sys/kernel/hostname; echo $name $PWD") {
            $0.standardOutput = writing
            $0.joined = (other.pidfd, namespaces)
            $0.directory = "/mnt/here"
        }
        #expect(child.reap() == .exited(0))
        #expect(try reading.read(upTo: 100) == Array("elsewhere /mnt/here\n".utf8))
        #expect(throws: SystemError("enter /nowhere", .noSuchFileOrDirectory)) { try shell("true") { $0.directory = "/nowhere" } }
    }

    @Test("a program that cannot be executed is an error, not a child")
    func missing() throws {
        #expect(throws: SystemError("start /nowhere", .noSuchFileOrDirectory)) { try ChildProcess("/nowhere", [], .init()) }
        #expect(throws: SystemError("start /", .permissionDenied)) { try ChildProcess("/", [], .init()) }
    }

    @Test("a child is killed, its end is readable, and killing it again does nothing")
    func kill() throws {
        let child = try shell("sleep 1000")
        let loop = try EventLoop()
        var ended = false
        try loop.add(child.pidfd, .readable) { _ in ended = true }
        child.kill()
        try loop.runOnce(milliseconds: 5000)
        #expect(ended)
        #expect(child.reap() == .signalled(SIGKILL))
        child.kill()
        #expect(child.reap() == .signalled(SIGKILL))
    }

    @Test("a child whose owner lets go is gone")
    func dropped() throws {
        var child: ChildProcess? = try shell("sleep 1000")
        let pid = try #require(child).pid
        child = nil
        #expect(Glibc.kill(pid, 0) == -1)
    }

    @Test("this process began before now and not long ago")
    func start() {
        let start = processStartNanoseconds()
        #expect(start < monotonicNanoseconds())
        #expect(monotonicNanoseconds() - start < 3_600_000_000_000)
    }
}
