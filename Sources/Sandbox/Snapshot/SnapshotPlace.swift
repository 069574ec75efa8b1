import Glibc
import Linux

/// Where a snapshot is written: a directory beside the wanted one, which gets its name when all is in it and on the disk. Whoever is killed
/// before that leaves a name with a dot, which the next snapshot there removes.
struct SnapshotPlace {
    private static let suffix = ".new"

    let directory: Descriptor
    private let parent: Descriptor
    private let name: String
    private let temporary: String

    /// - Parameter path: absolute; nothing, or an empty directory.
    init(_ path: String) throws(SandboxError) {
        let name = path.split(separator: "/").last.map(String.init) ?? ""
        self.name = name
        temporary = ".\(name.prefix(200)).\(processID())\(Self.suffix)"
        do throws(SystemError) {
            let parent = try Descriptor.open(Linux.directory(of: Self.withoutTrailingSlashes(path)), O_RDONLY | O_DIRECTORY)
            self.parent = parent
            if let there = try? Descriptor.openPath(name, O_NOFOLLOW, at: parent) {
                guard try there.status().st_mode & S_IFMT == S_IFDIR else { throw SystemError("there is a file already", .fileExists) }
                let entries = try Descriptor.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: parent).entryNames()
                guard entries.isEmpty else { throw SystemError("the directory is not empty", .fileExists) }
            }
            Self.sweep(name, in: parent)
            try parent.makeDirectory(temporary, mode: 0o700)
            directory = try Descriptor.open(temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: parent)
        } catch {
            throw SandboxError(.badInput, "\(path): \(error.errno == .fileExists ? error.stage : "\(error.errno)")")
        }
    }

    private static func withoutTrailingSlashes(_ path: String) -> String {
        var path = path[...]
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return String(path)
    }

    /// All is written: gives it its name.
    func finish() throws(SystemError) {
        try directory.synchronize()
        try parent.rename(temporary, to: name, replacing: true)
        try parent.synchronize()
    }

    func abandon() { Self.remove(temporary, in: parent) }

    /// What others left who were killed.
    private static func sweep(_ name: String, in parent: Descriptor) {
        for entry in (try? parent.entryNames()) ?? [] where entry.hasPrefix(".\(name.prefix(200)).") && entry.hasSuffix(suffix) {
            guard let pid = entry.split(separator: ".").dropLast().last.flatMap({ Int32($0) }), (try? ProcessHandle(pid)) == nil else { continue }
            remove(entry, in: parent)
        }
    }

    private static func remove(_ name: String, in parent: Descriptor) {
        guard let directory = try? Descriptor.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: parent) else { return }
        for entry in (try? directory.entryNames()) ?? [] { try? directory.remove(entry) }
        try? parent.remove(name, isDirectory: true)
    }
}
