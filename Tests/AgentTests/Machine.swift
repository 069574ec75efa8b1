import AgentAPI
import CLinux
import Glibc
import Linux
import OCI
import TTRPC
import Testing

@testable import Agent

/// Suites that run containers in this machine's kernel, one at a time: ids and cgroups are named alike.
@Suite("Real containers", .enabled(if: Machine.canRun), .serialized)
enum RealContainers {}

/// An agent of its own in this process, and a client connected to it: everything but the virtual machine.
final class Machine {
    let loop: EventLoop
    let agent: Agent
    let client: Client
    /// A root file system with busybox in it.
    let root: String
    /// Raised when the agent would switch the machine off.
    let isOff = Flag()
    private let directory: String
    private var nextStream: UInt64 = 1
    private var created: Set<String> = []

    /// Needs root, and a cgroup v2 hierarchy somewhere.
    static let canRun: Bool = geteuid() == 0 && cgroupRoot != nil

    static let cgroupRoot: String? = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].first { access($0 + "/cgroup.procs", F_OK) == 0 }

    init() throws {
        signal(SIGPIPE, SIG_IGN)
        directory = try Self.makeDirectory()
        root = directory + "/root"
        try Self.fill(root)
        loop = try EventLoop()
        var configuration = Agent.Configuration()
        configuration.cgroupRoot = Self.cgroupRoot ?? ""
        configuration.sparesDirectory = try Self.makePrivate(directory + "/spares")
        configuration.streamPatience = 500_000_000
        configuration.switchOff = { [isOff] in isOff.raise() }
        agent = try Agent(configuration, on: loop)
        let (ours, theirs) = try Descriptor.socketPair()
        try agent.serve(theirs)
        client = try Client(ours, on: loop)
    }

    deinit {
        client.close()
        try? unmountFileSystem(directory + "/spares", flags: Int32(MNT_DETACH))
        for id in created { Self.removeCgroup(id) }
        let process = try? ChildProcess("/bin/rm", ["rm", "-rf", directory], .init())
        process?.reap()
    }

    /// What a test that failed left behind.
    private static func removeCgroup(_ id: String) {
        let path = "\(cgroupRoot ?? "")/\(id)"
        for _ in 0..<50 where access(path, F_OK) == 0 {
            _ = try? Descriptor.open(path + "/cgroup.kill", O_WRONLY).write([UInt8(ascii: "1")])
            if rmdir(path) != 0 { usleep(20_000) }
        }
    }

    private static func makeDirectory() throws -> String {
        var template = Array("/tmp/microvm-agent-XXXXXX".utf8CString)
        guard let name = mkdtemp(&template) else { throw SystemError.current("mkdtemp") }
        chmod(name, 0o755)
        return String(cString: name)
    }

    /// What is mounted below is nobody else's, as in the guest.
    private static func makePrivate(_ path: String) throws -> String {
        mkdir(path, 0o700)
        try mountFileSystem("", on: path, source: path, flags: MountFlag.bind)
        try mountFileSystem("", on: path, source: "", flags: MountFlag.private)
        return path
    }

    private static func fill(_ root: String) throws {
        mkdir(root, 0o755)
        for name in ["bin", "etc", "tmp", "proc", "sys", "dev", "root", "var"] { mkdir("\(root)/\(name)", 0o755) }
        chmod("\(root)/tmp", 0o1777)
        let busybox = try Descriptor.open("/bin/busybox", O_RDONLY).readToEnd()
        try Descriptor.open("\(root)/bin/busybox", O_WRONLY | O_CREAT, mode: 0o755).writeAll(busybox)
        for name in ["sh", "cat", "echo", "id", "ls", "mount", "sleep", "stat", "hostname", "stty", "tty", "true", "ps", "grep", "env", "umount", "mkdir", "mknod", "readlink", "dd", "kill", "head", "wc", "touch"] {
            symlink("busybox", "\(root)/bin/\(name)")
        }
        try Descriptor.open("\(root)/etc/passwd", O_WRONLY | O_CREAT, mode: 0o644).writeAll("root:x:0:0:root:/root:/bin/sh\njoe:x:1000:1000::/home/joe:/bin/sh\n")
    }

    /// A spec for a shell command, much as docker writes one.
    func spec(_ command: String...) -> Spec {
        var spec = Spec.template()
        spec.process?.terminal = false
        spec.process?.args = command.count == 1 ? ["/bin/sh", "-c", command[0]] : command
        spec.process?.rlimits = []
        spec.process?.noNewPrivileges = false
        let capabilities = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SYS_CHROOT"]
        spec.process?.capabilities = LinuxCapabilities(bounding: capabilities, effective: capabilities, permitted: capabilities)
        spec.root = Root(path: root)
        // This machine's first hierarchy has the controllers.
        spec.linux?.resources = nil
        return spec
    }

    var spareCount: Int { agent.spareCount }

    // MARK: Calls

    func call<Request, Response>(_ method: TTRPC.Method<Request, Response>, _ request: Request, seconds: UInt64 = 20) throws -> Response {
        var answer: Result<Response, Status>?
        client.call(method, request, deadline: seconds * 1_000_000_000) { answer = $0 }
        try run { answer != nil }
        return try #require(answer).get()
    }

    func run(seconds: UInt64 = 30, until done: () -> Bool) throws {
        let end = monotonicNanoseconds() + seconds * 1_000_000_000
        while !done() {
            guard monotonicNanoseconds() < end else { throw SystemError("nothing happened in \(seconds) s", .timedOut) }
            try loop.runOnce(milliseconds: 50)
        }
    }

    /// A stream's id, and the host's end of it.
    func stream() throws -> (id: UInt64, end: Descriptor) {
        let (ours, theirs) = try Descriptor.socketPair()
        let id = nextStream
        nextStream += 1
        try ours.writeAll((0..<8).map { UInt8(truncatingIfNeeded: id >> (8 * $0)) })
        try agent.addStream(theirs)
        return (id, ours)
    }

    /// What comes out of a stream until its end.
    func readToEnd(_ stream: Descriptor, limit: Int = 64 << 20) throws -> String {
        var bytes: [UInt8] = []
        var isDone = false
        try stream.setNonBlocking()
        try loop.add(stream, .readable) { _ in
            do throws(SystemError) {
                let part = try stream.read(upTo: 64 << 10)
                bytes += part
                isDone = part.isEmpty || bytes.count >= limit
            } catch where error.errno == .wouldBlock {
            } catch {
                isDone = true
            }
        }
        try run { isDone }
        loop.remove(stream)
        return String(decoding: bytes, as: UTF8.self)
    }

    func create(
        _ id: String, _ spec: Spec, stdin: UInt64 = 0, stdout: UInt64 = 0, stderr: UInt64 = 0, passed: [PassedDescriptor] = []
    ) throws -> UInt32 {
        if Containers.isValid(id) { created.insert(id) }
        return try call(
            AgentMethods.createContainer,
            .with {
                $0.containerID = id
                $0.spec = .init((try? JSON.encode(spec))?.utf8 ?? "".utf8)
                $0.streams = .with { $0.stdin = stdin; $0.stdout = stdout; $0.stderr = stderr; $0.passed = passed }
            }
        ).pid
    }

    func start(_ id: String) throws { _ = try call(AgentMethods.startContainer, .with { $0.containerID = id }) }
    func delete(_ id: String) throws { _ = try call(AgentMethods.deleteContainer, .with { $0.containerID = id }) }
    func wait(_ id: String, exec: String = "") throws -> WaitResponse {
        try call(AgentMethods.wait, .with { $0.containerID = id; $0.execID = exec })
    }
    func kill(_ id: String, _ signal: Int32 = SIGKILL, exec: String = "", all: Bool = false) throws {
        _ = try call(AgentMethods.signal, .with { $0.containerID = id; $0.execID = exec; $0.signal = UInt32(signal); $0.all = all })
    }

    func exec(
        _ id: String, _ execID: String, _ process: OCI.Process, stdin: UInt64 = 0, stdout: UInt64 = 0, stderr: UInt64 = 0, passed: [PassedDescriptor] = [],
        cgroup: String = ""
    ) throws -> UInt32 {
        try call(
            AgentMethods.exec,
            .with {
                $0.containerID = id
                $0.execID = execID
                $0.cgroup = cgroup
                $0.process = .init((try? JSON.encode(process))?.utf8 ?? "".utf8)
                $0.streams = .with { $0.stdin = stdin; $0.stdout = stdout; $0.stderr = stderr; $0.passed = passed }
            }
        ).pid
    }

    /// Runs a container from create to delete: its output (both streams) and exit status.
    func output(of spec: Spec, id: String = "test-\(UInt32.random(in: 0 ... .max))") throws -> (text: String, status: UInt32) {
        let out = try stream()
        let error = try stream()
        _ = try create(id, spec, stdout: out.id, stderr: error.id)
        try start(id)
        let text = try readToEnd(out.end) + readToEnd(error.end)
        let status = try wait(id).exitStatus
        try delete(id)
        return (text, status)
    }

    /// A container that sleeps; ended by ``end(_:)``.
    func sleeper(_ id: String, _ change: (inout Spec) -> Void = { _ in }) throws {
        var spec = spec("/bin/sleep", "1000")
        change(&spec)
        _ = try create(id, spec)
        try start(id)
    }

    func end(_ id: String) throws {
        try kill(id)
        _ = try wait(id)
        try delete(id)
    }
}

func expectStatus(_ code: Status.Code, _ body: () throws -> Void) {
    do {
        try body()
        Issue.record("succeeded")
    } catch let status as Status {
        #expect(status.code == code, "\(status.code): \(status)")
    } catch {
        Issue.record("\(error)")
    }
}
