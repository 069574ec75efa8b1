import CLinux
import Glibc
import Linux

/// A directory of its own for one test, removed with everything in it.
final class TestFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/microvm-fuse-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.current("mkdtemp") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        if let directory = try? open(), let numbers = try? DescriptorNumbers() { try? Self.empty(directory, numbers) }
        rmdir(path)
    }

    /// Names need not be text: some tests make random ones.
    private static func empty(_ directory: Descriptor, _ numbers: DescriptorNumbers) throws {
        var entries = DirectoryEntries(capacity: 32 << 10)
        var removed = true
        while removed {
            removed = false
            try entries.read(directory, from: 0, limit: .max)
            while let entry = entries.next() {
                guard let name = FileName(entries.bytes[entry.name]) else { continue }
                if try directory.metadata(of: name).kind == .directory {
                    try empty(numbers.reopen(directory.openPath(name), O_RDONLY | O_DIRECTORY), numbers)
                    try directory.removeDirectory(name)
                } else {
                    try directory.removeFile(name)
                }
                removed = true
            }
        }
    }

    func open(_ flags: Int32 = O_RDONLY | O_DIRECTORY) throws -> Descriptor { try Descriptor.open(path, flags) }

    func write(_ name: String, _ text: String, mode: mode_t = 0o644) throws {
        let file = try Descriptor.open(path + "/" + name, O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
        try file.writeAll(text)
    }

    func read(_ name: String) throws -> String {
        String(decoding: try Descriptor.open(path + "/" + name, O_RDONLY | O_NOFOLLOW).readToEnd(), as: UTF8.self)
    }

    func makeDirectory(_ name: String) throws {
        guard mkdir(path + "/" + name, 0o755) == 0 else { throw SystemError.current("mkdir") }
    }

    func status(_ name: String) throws -> stat {
        var result = stat()
        guard lstat(path + "/" + name, &result) == 0 else { throw SystemError.current("lstat") }
        return result
    }

    func exists(_ name: String) -> Bool { (try? status(name)) != nil }
}

extension TestFolder {
    /// How many descriptors of this process are of files in here.
    func openDescriptors() throws -> Int {
        let numbers = try Descriptor.open("/proc/self/fd", O_RDONLY | O_DIRECTORY)
        return try numbers.entryNames().filter { name in
            var target = [UInt8](repeating: 0, count: 4096)
            let count = target.withUnsafeMutableBytes { buffer in
                buffer.baseAddress.map { readlinkat(numbers.raw, name, $0.assumingMemoryBound(to: CChar.self), buffer.count) } ?? -1
            }
            return count > 0 && String(decoding: target.prefix(count), as: UTF8.self).hasPrefix(path)
        }.count
    }
}
