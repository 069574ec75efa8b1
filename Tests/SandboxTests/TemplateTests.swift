import Glibc
import Linux
import OCI
import Testing

@testable import Sandbox

/// A fresh directory for templates, removed with what is in it.
private func withStore(_ body: (TemplateStore, Descriptor) throws -> Void) throws {
    let path = "/tmp/microvm-template-test-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
    defer { _ = try? ChildProcess("/bin/rm", ["rm", "-rf", path], .init()).reap() }
    let store = try TemplateStore("\(path)/a/templates")
    try body(store, try Descriptor.open(store.path, O_RDONLY | O_DIRECTORY))
}

@Suite("Templates")
struct TemplateTests {
    private let installation: Installation
    private let options = SandboxMachine.Options()

    init() throws {
        installation = try Installation(vmm: "/bin/sh", kernel: "/bin/sh", image: "/bin/sh")
    }

    private func key(_ memory: Int = 64, _ options: SandboxMachine.Options = .init()) throws -> TemplateKey {
        try TemplateKey(installation, MachineSize(cpus: 1, memory: memory << 20, softwareKVM: false), options)
    }

    /// Makes a template of nothing but its record.
    private func make(_ memory: Int, in store: TemplateStore) throws -> TemplateKey {
        let size = try MachineSize(cpus: 1, memory: memory << 20, softwareKVM: false)
        let key = try key(memory)
        let (name, directory) = try store.begin(key)
        let record = TemplateRecord(installation, size, options, created: "now", buildTime: 1)
        try directory.replaceFile(TemplateStore.recordName, with: Array(JSON.encode(record).utf8))
        try store.finish(name, as: key)
        return key
    }

    @Test("a key stands for size, command line, kind of host and files; a file that was written to is another")
    func keys() throws {
        #expect(try key() == key())
        #expect(try key() != key(66))
        var other = options
        other.kernelArguments = "quiet"
        #expect(try key() != key(64, other))
        other = options
        other.softwareKVM = true
        #expect(try key() != key(64, other))
        try withStore { _, directory in
            try directory.replaceFile("kernel", with: [1])
            let path = try readLink("/proc/self/fd/\(directory.raw)") + "/kernel"
            let installation = try Installation(vmm: "/bin/sh", kernel: path, image: "/bin/sh")
            let size = try MachineSize(cpus: 1, memory: 64 << 20, softwareKVM: false)
            let before = try TemplateKey(installation, size, options)
            #expect(try TemplateKey(installation, size, options) == before)
            usleep(20_000)
            try Descriptor.open(path, O_WRONLY).writeAll([2] as [UInt8])
            #expect(try TemplateKey(installation, size, options) != before)
        }
    }

    @Test("what is no key is none", arguments: ["", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF", "../../../etc/pass"])
    func noKey(_ text: String) {
        #expect(TemplateKey(text) == nil)
        #expect(TemplateKey("0123456789abcdef")?.description == "0123456789abcdef")
    }

    @Test("a template is found, listed, replaced and removed; its directory is nobody else's")
    func life() throws {
        try withStore { store, directory in
            #expect(store.find(try key()) == nil)
            #expect(try store.all().isEmpty)
            let first = try make(64, in: store)
            _ = try make(64, in: store)
            #expect(store.find(first) != nil)
            let listed = try store.all()
            #expect(listed.map(\.key) == [first])
            #expect(listed.first?.isCurrent == true)
            #expect(try directory.status().st_mode & 0o777 == 0o700)
            #expect(try Descriptor.open(first.description, O_RDONLY, at: directory).status().st_mode & 0o777 == 0o700)
            try store.remove(first)
            #expect(try store.all().isEmpty)
            #expect { try store.remove(first) } throws: { ($0 as? SystemError)?.errno == .noSuchFileOrDirectory }
            #expect(try directory.entryNames().isEmpty)
        }
    }

    @Test("a directory others can write to is not used, and neither is a template in one, or a link to one")
    func permissions() throws {
        try withStore { store, directory in
            let key = try make(64, in: store)
            chmod("\(store.path)/\(key)", 0o770)
            #expect(store.find(key) == nil)
            chmod("\(store.path)/\(key)", 0o700)
            #expect(store.find(key) != nil)
            try directory.rename(key.description, to: "elsewhere", replacing: false)
            symlink("elsewhere", "\(store.path)/\(key)")
            #expect(store.find(key) == nil)
            chmod(store.path, 0o777)
            #expect { _ = try TemplateStore(store.path) } throws: { "\($0)".contains("others can write") }
        }
    }

    @Test("one builds at a time; what a killed builder left goes with the next")
    func builders() throws {
        try withStore { store, directory in
            var lock = try store.lockForBuilding()
            #expect(lock != nil)
            #expect(try store.lockForBuilding() == nil)
            lock = nil
            #expect(try store.lockForBuilding() != nil)
            let (left, half) = try store.begin(try key())
            try half.makeDirectory("sockets", mode: 0o700)
            try half.replaceFile("memory", with: [1, 2, 3])
            try Descriptor.open("sockets", O_RDONLY, at: half).replaceFile("vsock.sock", with: [])
            #expect(store.find(try key()) == nil)
            _ = try make(64, in: store)
            #expect(try !directory.entryNames().contains(left))
        }
    }

    @Test("templates of things that are gone go with the next, and the least recently used of too many")
    func limits() throws {
        try withStore { store, directory in
            try directory.makeDirectory("0123456789abcdef", mode: 0o700)
            let keys = try (0..<20).map { number in
                usleep(2_000)
                return try make(64 + 2 * number, in: store)
            }
            #expect(try store.all().map(\.key) == Array(keys.suffix(16).reversed()))
        }
    }
}
