import Glibc
public import Linux
import OCI

/// One template as it lies in its store.
public struct Template {
    private static let recordLimit = 64 << 10
    /// `microvm-vmm`'s status for a snapshot that cannot be restored.
    private static let damaged: Int32 = 8

    public let key: TemplateKey
    /// Nil: there is none, or it cannot be read.
    public let record: TemplateRecord?
    /// Bytes on the disk.
    public let size: Int
    /// Nanoseconds since the epoch.
    public let usedAt: UInt64
    private let directory: Descriptor

    init(_ key: TemplateKey, _ directory: Descriptor) {
        self.key = key
        self.directory = directory
        let file = try? Descriptor.open(TemplateStore.recordName, O_RDONLY | O_NOFOLLOW, at: directory)
        record = (try? file?.readToEnd(limit: Self.recordLimit)).flatMap { try? JSON.decode(from: $0) }
        let files = ((try? directory.entryNames()) ?? []).compactMap { try? Descriptor.openPath($0, at: directory).status() }
        size = files.reduce(0) { $0 + Int($1.st_blocks) * 512 }
        let status = try? directory.status()
        usedAt = status.map { UInt64(clamping: $0.st_mtim.tv_sec) * 1_000_000_000 + UInt64(clamping: $0.st_mtim.tv_nsec) } ?? 0
    }

    /// What it was made of is still there and the same.
    public var isCurrent: Bool { record?.key == key }

    /// Bytes of its memory that starts read ahead; nil before the first has shown which.
    public var workingSet: Int? { WorkingSet.read(from: directory)?.bytes }

    /// Reads all of it and holds it against its checksums: what is wrong, nil if nothing is.
    ///
    /// - Parameter monitor: path of `microvm-vmm`, which knows the format.
    public func damage(monitor: String) throws -> String? {
        let (reading, writing) = try Descriptor.pipe()
        var options = ChildProcess.Options()
        options.standardError = writing
        options.inherited = [directory]
        let child = try withExtendedLifetime(writing) { try ChildProcess(monitor, ["microvm-vmm", "--verify-fd", "\(directory.raw)"], options) }
        let end = child.reap()
        if end == .exited(0) { return nil }
        let text = reading.isReady(for: .readable) ? String(decoding: try reading.read(upTo: 4096), as: UTF8.self) : "\(monitor) failed"
        let line = text.split(separator: "\n").first.map(String.init) ?? ""
        guard end == .exited(Self.damaged) else { throw SandboxError(.monitorEnded, line) }
        return line.split(separator: ": ", maxSplits: 2).last.map(String.init) ?? line
    }
}
