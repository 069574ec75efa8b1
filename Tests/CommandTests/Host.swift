import Glibc
import Linux
import OCI
import Testing

/// A place to run `microvm` in: a state root, a bundle, and a machine that is not one (`fake-vmm`).
final class TestHost {
    let path: String
    let programs: String

    init() throws {
        let executable = try executablePath()
        programs = String(executable[..<(executable.lastIndex(of: "/") ?? executable.startIndex)])
        path = "/tmp/microvm-command-test-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        for name in ["", "/bundle", "/bundle/rootfs"] { mkdir(path + name, 0o755) }
        try script("true")
    }

    deinit {
        _ = try? ChildProcess("/bin/rm", ["rm", "-rf", path], .init()).reap()
    }

    var bundle: String { path + "/bundle" }
    var state: String { path + "/state" }

    /// The bundle's program becomes a shell with this script.
    func script(_ text: String, _ change: (inout Spec) -> Void = { _ in }) throws {
        var spec = Spec.template()
        spec.process?.terminal = false
        spec.process?.args = ["/bin/sh", "-c", text]
        spec.process?.env = ["PATH=/usr/bin:/bin"]
        spec.root?.readonly = false
        change(&spec)
        try write("bundle/config.json", JSON.encode(spec, .pretty))
    }

    func write(_ name: String, _ text: String) throws {
        try Descriptor.open("\(path)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644).writeAll(text)
    }

    func read(_ name: String) throws -> String {
        String(decoding: try Descriptor.open("\(path)/\(name)", O_RDONLY).readToEnd(), as: UTF8.self)
    }

    /// Names in the state's root that are not ours.
    var leftovers: [String] {
        ((try? Descriptor.open(state, O_RDONLY | O_DIRECTORY).entryNames()) ?? []).filter { ![".ledgers", ".host"].contains($0) }
    }

    struct Ended {
        var status: Int32
        var output: String
        var errors: String
    }

    /// A command that runs, its output going to files.
    final class Running {
        let child: ChildProcess
        let output: String
        let errors: String

        init(_ child: ChildProcess, _ output: String, _ errors: String) {
            self.child = child
            self.output = output
            self.errors = errors
        }

        func wait(seconds: UInt64 = 30) throws -> Ended {
            guard try child.pidfd.waitReadable(atMost: seconds * 1_000_000_000) else {
                child.kill()
                throw Failed("did not end in \(seconds) s: \(text(output)) \(text(errors))")
            }
            let status: Int32 =
                switch child.reap() {
                case .exited(let code): code
                case .signalled(let signal): -signal
                case nil: -1000
                }
            return Ended(status: status, output: text(output), errors: text(errors))
        }

        func waitForOutput(_ wanted: String) throws {
            try eventually("output \(wanted)") { text(output).contains(wanted) }
        }
    }

    struct Failed: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    private var commands = 0

    /// Starts `microvm` with the test's state root; machine options are added to commands that make machines.
    func start(
        _ arguments: [String], fault: String = "", input: Descriptor? = nil, output: Descriptor? = nil, errors: Descriptor? = nil, inherited: [Descriptor] = [],
        environment: [String] = []
    ) throws -> Running {
        commands += 1
        let files = ["out", "err"].map { "\(path)/\(commands).\($0)" }
        var options = ChildProcess.Options()
        options.inherited = inherited
        options.environment = environment
        options.standardInput = input
        options.standardOutput = try output ?? Descriptor.open(files[0], O_WRONLY | O_CREAT | O_APPEND, mode: 0o644)
        options.standardError = try errors ?? Descriptor.open(files[1], O_WRONLY | O_CREAT | O_APPEND, mode: 0o644)
        var line = ["microvm", "--root", state] + arguments.prefix(1)
        if ["run", "create"].contains(arguments.first) {
            line += ["--vmm", "\(programs)/fake-vmm", "--kernel", "/bin/sh", "--image", "/bin/sh", "--host-kind", "hardware", "--cold"]
            if !fault.isEmpty { line += ["--kernel-arguments", fault] }
        }
        line += arguments.dropFirst()
        return Running(try ChildProcess("\(programs)/microvm", line, options), files[0], files[1])
    }

    @discardableResult
    func microvm(_ arguments: String..., fault: String = "", input: Descriptor? = nil) throws -> Ended {
        try start(arguments, fault: fault, input: input).wait()
    }

    /// The status `state` tells, or nil without such a container.
    func status(_ id: String) throws -> String? {
        let ended = try microvm("state", id)
        guard ended.status == 0 else { return nil }
        let state: State = try JSON.decode(from: Array(ended.output.utf8))
        return state.status.rawValue
    }

    func pid(_ id: String) throws -> Int32 {
        let state: State = try JSON.decode(from: Array(try microvm("state", id).output.utf8))
        return state.pid
    }

    /// Processes of `fake-vmm` that serve this test.
    func machines() throws -> [Int32] {
        try Descriptor.open("/proc", O_RDONLY | O_DIRECTORY).entryNames().compactMap { Int32($0) }.filter { pid in
            text("/proc/\(pid)/cmdline").hasPrefix("microvm-vmm\0") && (try? readLink("/proc/\(pid)/fd/0")) != nil
                && descriptors(pid).contains { $0.hasPrefix(path) }
        }
    }

    private func descriptors(_ pid: Int32) -> [String] {
        let names = (try? Descriptor.open("/proc/\(pid)/fd", O_RDONLY | O_DIRECTORY).entryNames()) ?? []
        return names.compactMap { try? readLink("/proc/\(pid)/fd/\($0)") }
    }
}

func text(_ path: String) -> String {
    (try? Descriptor.open(path, O_RDONLY).readToEnd()).map { String(decoding: $0, as: UTF8.self) } ?? ""
}

/// Waits until `condition` holds, for twenty seconds.
func eventually(_ what: String, _ condition: () throws -> Bool) throws {
    for _ in 0..<2000 {
        if try condition() { return }
        usleep(10_000)
    }
    throw TestHost.Failed("never: \(what)")
}
