import Glibc
import Linux
import OCI
import Testing

@testable import Sandbox

/// A fresh state root, removed with what is in it.
func withStateRoot(_ body: (StateRoot) throws -> Void) throws {
    let root = try StateRoot("/tmp/microvm-sandbox-test-\(getpid())-\(UInt64.random(in: 0...UInt64.max))")
    defer { _ = try? ChildProcess("/bin/rm", ["rm", "-rf", root.path], .init()).reap() }
    try body(root)
}

@Suite("A sandbox's directory")
struct StateTests {
    func record(_ id: String = "c", isTransient: Bool = false) -> SandboxRecord {
        SandboxRecord(
            id: id, pid: getpid(), monitor: getpid(), status: .creating, bundle: "/b", rootfs: "/b/rootfs", created: "now", ociVersion: "1.2.0", annotations: ["a": "b"],
            isTransient: isTransient)
    }

    func create(_ record: SandboxRecord, _ root: StateRoot) throws -> StateDirectory {
        try StateDirectory.create(record, config: JSON.value(of: Spec.template()), in: root)
    }

    @Test("what the monitor writes is read back while it lives, and reads as stopped once it is gone")
    func life() throws {
        try withStateRoot { root in
            var monitor: StateDirectory? = try create(record(), root)
            var record = record()
            record.status = .running
            try monitor?.write(record)
            let reader = try StateDirectory.open("c", in: root)
            #expect(try reader.read() == record)
            #expect(try reader.config() == Spec.template())
            #expect(try reader.removeStale() == false)
            monitor = nil
            // A child that another test starts just now has its copy of the lock until it executes its program.
            for _ in 0..<2000 where try reader.hasMonitor() { usleep(1000) }
            record.status = .stopped
            #expect(try reader.read() == record)
            #expect(try reader.removeStale())
            #expect(root.ids() == [])
            #expect(try Descriptor.open(root.path, O_RDONLY).entryNames() == [])
        }
    }

    @Test("an id is had once, and free again after removal")
    func taken() throws {
        try withStateRoot { root in
            let first = try create(record(), root)
            let error = #expect(throws: SandboxError.self) { try self.create(self.record(), root) }
            #expect(error == SandboxError(.exists, "container with id exists: c"))
            first.removeOwn()
            #expect(try Descriptor.open(root.path, O_RDONLY).entryNames() == [])
            _ = try create(record(), root)
        }
    }

    @Test("removing what was removed and made again does not remove the new one")
    func replaced() throws {
        try withStateRoot { root in
            let first = try create(record(), root)
            let reader = try StateDirectory.open("c", in: root)
            first.removeOwn()
            let second = try create(record(), root)
            _ = try reader.removeStale()
            first.removeOwn()
            #expect(root.ids() == ["c"])
            withExtendedLifetime(second) {}
        }
    }

    @Test("a sweep removes transient sandboxes of dead monitors and half-made directories, and nothing else")
    func sweep() throws {
        try withStateRoot { root in
            let alive = try create(record("alive", isTransient: true), root)
            _ = try create(record("dead", isTransient: true), root)
            _ = try create(record("stopped"), root)
            let parent = try Descriptor.open(root.path, O_RDONLY | O_DIRECTORY)
            // No process has this id: the kernel's limit is 2²².
            try parent.makeDirectory(".x.99999999.new", mode: 0o700)
            try parent.makeDirectory(".y.\(getpid()).old", mode: 0o700)
            StateDirectory.sweep(root)
            #expect(Set(try parent.entryNames()) == ["alive", "stopped", ".y.\(getpid()).old"])
            withExtendedLifetime(alive) {}
        }
    }

    @Test("names that lead elsewhere are no ids", arguments: ["..", ".", "a/b", "", ".ledgers", "a b"])
    func names(id: String) throws {
        try withStateRoot { root in
            let error = #expect(throws: SandboxError.self) { try StateDirectory.open(id, in: root) }
            #expect(error?.kind == .badInput)
        }
    }

    @Test("sockets fit their addresses however long the path is")
    func longPaths() throws {
        try withStateRoot { root in
            let id = String(repeating: "x", count: 200)
            let directory = try create(record(id), root)
            let listener = try Descriptor.listening(at: .unix(directory.socketPath("control.sock")))
            _ = try Descriptor.connected(to: .unix(directory.socketPath("control.sock")))
            withExtendedLifetime(listener) {}
            directory.removeOwn()
            #expect(root.ids() == [])
        }
    }
}
