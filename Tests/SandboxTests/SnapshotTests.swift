import Glibc
import Linux
import OCI
import Testing

@testable import Sandbox

/// The files of a snapshot that are not the machine's.
@Suite("Sandbox snapshots")
struct SandboxSnapshotTests {
    private let path: String

    init() throws {
        var template = Array("/tmp/microvm-snapshot.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.current("mkdtemp") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private func clean() { _ = try? ChildProcess("/bin/rm", ["rm", "-rf", path], .init()).reap() }

    private let snapshot = SandboxSnapshot(
        id: "web", guestID: "web", cpus: 2, memory: 128 << 20, extraMemory: 0, machine: .init(),
        shares: [.init(name: "rootfs", path: "/images/a", readOnly: false, field: "root.path")], bundle: "/bundles/web", rootfs: "/images/a",
        isPaused: false, parent: nil, config: #"{"ociVersion":"1.2.0"}"#, created: "2026-01-01T00:00:00Z")

    private func save(_ name: String = "snapshot") throws {
        let place = try SnapshotPlace("\(path)/\(name)")
        try Descriptor.open("state", O_WRONLY | O_CREAT, mode: 0o600, at: place.directory).writeAll("state of \(name)")
        try snapshot.write(to: place.directory)
        try place.finish()
    }

    private func expectRefusal(_ words: String, _ location: SourceLocation = #_sourceLocation) {
        #expect(sourceLocation: location) { try SandboxSnapshot.read("\(path)/snapshot") } throws: { "\($0)".contains(words) }
    }

    @Test("what is written is read again, and an empty directory may be there already")
    func roundTrip() throws {
        defer { clean() }
        mkdir("\(path)/snapshot", 0o755)
        try save()
        #expect(try SandboxSnapshot.read("\(path)/snapshot").snapshot == snapshot)
        #expect(try Descriptor.open("\(path)/snapshot", O_RDONLY).status().st_mode & 0o777 == 0o700)
        #expect(throws: SandboxError.self) { try save() }
        #expect(try Descriptor.open(path, O_RDONLY).entryNames() == ["snapshot"])
    }

    @Test("any byte of sandbox.json that is not as it was is refused, or means the same")
    func flips() throws {
        defer { clean() }
        try save()
        let file = "\(path)/snapshot/\(SandboxSnapshot.fileName)"
        let bytes = try Descriptor.open(file, O_RDONLY).readToEnd()
        for position in bytes.indices {
            var changed = bytes
            changed[position] ^= 1 << UInt8(position % 8)
            try Descriptor.open(file, O_WRONLY | O_TRUNC).writeAll(changed)
            if let read = try? SandboxSnapshot.read("\(path)/snapshot").snapshot { #expect(read == snapshot) }
        }
        for count in stride(from: 0, to: bytes.count, by: 13) {
            try Descriptor.open(file, O_WRONLY | O_TRUNC).writeAll(bytes.prefix(count))
            expectRefusal(SandboxSnapshot.fileName)
        }
    }

    @Test("another machine's state, and what is not its user's alone, are refused")
    func foreign() throws {
        defer { clean() }
        try save()
        try save("other")
        rename("\(path)/other/state", "\(path)/snapshot/state")
        expectRefusal("not the one saved")
        chmod("\(path)/snapshot/\(SandboxSnapshot.fileName)", 0o666)
        expectRefusal("others can write")
        chmod("\(path)/snapshot", 0o777)
        expectRefusal("others can write")
        #expect { try SandboxSnapshot.read("\(path)/none") } throws: { ($0 as? SandboxError)?.kind == .missing(.noSuchFileOrDirectory) }
    }

    @Test("what a killed process left goes with the next snapshot of the name, and nothing else does")
    func leftovers() throws {
        defer { clean() }
        // No process has this id: they end at 4,194,304.
        for name in [".snapshot.4999999.new", ".snapshot.\(getpid()).new", ".other.4999999.new"] { mkdir("\(path)/\(name)", 0o700) }
        rmdir("\(path)/.snapshot.\(getpid()).new")
        try save()
        #expect(try Set(Descriptor.open(path, O_RDONLY).entryNames()) == ["snapshot", ".other.4999999.new"])
    }
}
