import Glibc
import Linux
import Testing

@testable import OCI

/// A directory under /tmp that goes away with the test.
final class ScratchDirectory {
    let path: String

    init() throws {
        path = "/tmp/microvm-oci-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try check(mkdir(path, 0o755), "mkdir \(path)")
    }

    func write(_ name: String, _ text: String) throws {
        try Descriptor.open("\(path)/\(name)", O_CREAT | O_WRONLY | O_TRUNC, mode: 0o644).writeAll(text)
    }

    deinit {
        for name in ["config.json", "file"] { unlink("\(path)/\(name)") }
        for name in ["config.json", "rootfs"] { rmdir("\(path)/\(name)") }
        rmdir(path)
    }
}

struct BundleTests {
    let scratch: ScratchDirectory

    init() throws {
        scratch = try ScratchDirectory()
    }

    @Test("a bundle is loaded, and its root found, relative to the bundle or absolute")
    func load() throws {
        try scratch.write("config.json", #"{"ociVersion": "1.2.0", "root": {"path": "rootfs"}, "process": {"cwd": "/"}}"#)
        try check(mkdir(scratch.path + "/rootfs", 0o755), "mkdir")
        let bundle = try Bundle.load(scratch.path + "//")
        #expect(bundle.path == scratch.path)
        #expect(try bundle.rootfs() == scratch.path + "/rootfs")
        try scratch.write("config.json", #"{"ociVersion": "1.2.0", "root": {"path": "/tmp"}}"#)
        #expect(try Bundle.load(scratch.path).rootfs() == "/tmp")
    }

    @Test("a missing bundle, config or root is said to be missing, by name")
    func missing() throws {
        expect("/nonexistent/bundle: no such bundle", kind: .unreadable(.noSuchFileOrDirectory)) { try Bundle.load("/nonexistent/bundle") }
        expect("\(scratch.path)/config.json: no such file", kind: .unreadable(.noSuchFileOrDirectory)) { try Bundle.load(scratch.path) }
        try scratch.write("config.json", #"{"ociVersion": "1.2.0", "root": {"path": "rootfs"}}"#)
        expect(
            "\(scratch.path)/config.json: root.path: \(scratch.path)/rootfs: No such file or directory",
            kind: .unreadable(.noSuchFileOrDirectory)
        ) { try Bundle.load(scratch.path).rootfs() }
        try scratch.write("file", "")
        expect("\(scratch.path)/file: Not a directory", kind: .unreadable(.notDirectory)) { try Bundle.load(scratch.path + "/file") }
        try scratch.write("config.json", #"{"ociVersion": "1.2.0", "root": {"path": "file"}}"#)
        expect("\(scratch.path)/config.json: root.path: \(scratch.path)/file: Not a directory", kind: .unreadable(.notDirectory)) {
            try Bundle.load(scratch.path).rootfs()
        }
    }

    @Test("a malformed config names file, line and field")
    func malformed() throws {
        try scratch.write("config.json", "{\n  \"ociVersion\": \"1.2.0\",\n  \"root\": {\"path\": 3}\n}\n")
        expect("\(scratch.path)/config.json: line 3, column 20: root.path: want string, is number", kind: .malformed) {
            try Bundle.load(scratch.path)
        }
        try scratch.write("config.json", "{\n  \"ociVersion\": \"1.2.0\"\n  \"root\": {}\n}\n")
        expect("\(scratch.path)/config.json: line 3, column 3: expected ',' or '}', found '\"'", kind: .malformed) {
            try Bundle.load(scratch.path)
        }
        try scratch.write("config.json", "")
        expect("\(scratch.path)/config.json: line 1, column 1: expected a value, found the end of the file", kind: .malformed) {
            try Bundle.load(scratch.path)
        }
    }

    @Test("a config larger than the limit is refused, and so is one that is no file")
    func oversized() throws {
        try scratch.write("config.json", String(repeating: " ", count: Bundle.configLimit + 1))
        expect("\(scratch.path)/config.json: larger than 2097152 bytes", kind: .malformed) { try Bundle.load(scratch.path) }
        unlink(scratch.path + "/config.json")
        try check(mkfifo(scratch.path + "/config.json", 0o600), "mkfifo")
        expect("\(scratch.path)/config.json: not a regular file", kind: .malformed) { try Bundle.load(scratch.path) }
        unlink(scratch.path + "/config.json")
        try check(mkdir(scratch.path + "/config.json", 0o700), "mkdir")
        expect("\(scratch.path)/config.json: not a regular file", kind: .malformed) { try Bundle.load(scratch.path) }
    }

    private func expect<T>(_ text: String, kind: BundleError.Kind, _ body: () throws -> T) {
        let error = #expect(throws: BundleError.self) { _ = try body() }
        #expect(error?.description == text)
        #expect(error?.kind == kind)
    }
}
