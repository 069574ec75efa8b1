import Glibc
import Linux
import Testing

@testable import Machine

/// What the kernel says of a jailed VMM, seen from outside.
@Suite("Jail", .enabled(if: hasKVM, "THIS MACHINE HAS NO /dev/kvm: the jail is not tested here"))
struct JailTests {
    private func jailed(_ options: [String] = [], passing: [Descriptor] = []) throws -> VMMProcess {
        let vmm = try VMMProcess(try TestKernel(Code.forever).file(), ["--jail"] + options, passing: passing)
        try vmm.expectStarted()
        return vmm
    }

    private func status(_ path: String) throws -> [String: String] {
        let file = try Descriptor.open(path, O_RDONLY)
        let lines = String(decoding: try file.readToEnd(), as: UTF8.self).split(separator: "\n")
        return Dictionary(
            lines.map { line in
                let parts = line.split(separator: ":", maxSplits: 1)
                return (String(parts[0]), parts.count > 1 ? String(parts[1].drop { $0 == " " || $0 == "\t" }) : "")
            }, uniquingKeysWith: { first, _ in first })
    }

    private func link(_ path: String) -> String {
        var target = [CChar](repeating: 0, count: 256)
        let count = readlink(path, &target, target.count)
        return String(decoding: target.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    @Test("its table of descriptors has room for all there will be: to grow among threads takes a grace period")
    func descriptors() throws {
        let vmm = try jailed()
        #expect(try #require(Int(try status("/proc/\(vmm.child.pid)/status")["FDSize"] ?? "")) >= 256)
    }

    @Test("every thread is filtered and without new privileges; only those that serve files have capabilities, and few")
    func threads() throws {
        let vmm = try jailed(["--cpus", "2"])
        // The control thread answers once all threads are confined.
        #expect(try vmm.ask("metrics")?.hasPrefix("ok") == true)
        let tasks = try Descriptor.open("/proc/\(vmm.child.pid)/task", O_RDONLY | O_DIRECTORY).entryNames()
        #expect(tasks.count >= 5)
        let allowed: UInt64 = 0x8800_00df
        for task in tasks {
            var status = try status("/proc/\(vmm.child.pid)/task/\(task)/status")
            // A thread is confined before it does anything, but that may be later than others answer.
            for _ in 0..<100 where status["Seccomp"] != "2" {
                usleep(10_000)
                status = try self.status("/proc/\(vmm.child.pid)/task/\(task)/status")
            }
            let name = status["Name"] ?? ""
            #expect(status["Seccomp"] == "2", "\(name)")
            #expect(status["NoNewPrivs"] == "1", "\(name)")
            let effective = try #require(UInt64(status["CapEff"] ?? "", radix: 16))
            let mayServe = ThreadKind(threadName: name) == .starter || ThreadKind(threadName: name) == .fileServer
            #expect(effective & ~(mayServe ? allowed : 0) == 0, "\(name): \(status["CapEff"] ?? "")")
            #expect(try #require(UInt64(status["CapBnd"] ?? "", radix: 16)) & ~allowed == 0 || effectiveUserID() != 0)
            #expect(status["CapInh"].flatMap { UInt64($0, radix: 16) } == 0)
        }
    }

    @Test("namespaces are its own, and the root is empty and read-only")
    func root() throws {
        let vmm = try jailed()
        for namespace in ["mnt", "ipc", "net", "uts"] {
            #expect(link("/proc/\(vmm.child.pid)/ns/\(namespace)") != link("/proc/self/ns/\(namespace)"))
        }
        let root = try Descriptor.open("/proc/\(vmm.child.pid)/root", O_RDONLY | O_DIRECTORY)
        #expect(try root.entryNames() == [])
        #expect(throws: SystemError.self) { try root.makeDirectory("x", mode: 0o755) }
        let mounts = try Descriptor.open("/proc/\(vmm.child.pid)/mounts", O_RDONLY).readToEnd()
        #expect(mounts.filter { $0 == UInt8(ascii: "\n") }.count == 1, "\(String(decoding: mounts, as: UTF8.self))")
    }

    @Test("with a directory of sockets that directory is the root, and nothing else is to be seen")
    func socketDirectory() throws {
        let path = "/tmp/microvm-jail-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        #expect(mkdir(path, 0o700) == 0)
        defer {
            unlink(path + "/vsock.sock")
            rmdir(path)
        }
        let listener = try Descriptor.listening(at: .unix(path + "/vsock.sock"))
        let directory = try Descriptor.open(path, O_RDONLY | O_DIRECTORY)
        let vmm = try jailed(
            ["--directory-fd", "\(directory.raw)", "--vsock-fd", "\(listener.raw)", "--vsock-path", "vsock.sock"], passing: [directory, listener])
        let root = try Descriptor.open("/proc/\(vmm.child.pid)/root", O_RDONLY | O_DIRECTORY)
        #expect(try root.entryNames() == ["vsock.sock"])
        #expect(link("/proc/\(vmm.child.pid)/cwd") == "/")
    }

    @Test("no core dumps and no debugging; many files may be open")
    func limits() throws {
        let vmm = try jailed()
        let limits = String(decoding: try Descriptor.open("/proc/\(vmm.child.pid)/limits", O_RDONLY).readToEnd(), as: UTF8.self)
        let core = try #require(limits.split(separator: "\n").first { $0.hasPrefix("Max core file size") })
        #expect(core.split(separator: " ").dropFirst(4).prefix(2) == ["0", "0"])
    }
}
