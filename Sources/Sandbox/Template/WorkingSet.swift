import Glibc
import Linux
import OCI

/// Which pages of its memory file a template's first machine had touched by its container's first output, or end. Later ones find
/// them read, or on their way: without, each of their first accesses waits for the disk.
///
/// A VMM tells it whose guest has run, so it is as hostile as anything of a guest's: all it can bring about is that some of the
/// template's own file is read.
struct WorkingSet: Codable, Equatable, Sendable {
    static let name = "working-set"
    private static let memoryName = "memory"
    private static let currentVersion = 1
    private static let pageSize: UInt64 = 4096
    private static let runLimit = 200
    /// 64 MiB: several times what a machine touches.
    private static let pageLimit: UInt64 = 16384
    /// Four times as large as the longest.
    private static let fileLimit = 16 << 10
    /// What the kernel reads at once of what it is told it will need, by default.
    private static let requestSize: UInt64 = 128 << 10

    private var version = WorkingSet.currentVersion
    /// Of the memory file, as are size in bytes and time of change in nanoseconds: of another file's pages it says nothing.
    private let inode: UInt64
    private let size: UInt64
    private let changed: UInt64
    /// The first page and the number of pages of each run in turn, in the file's order.
    private let pages: [UInt64]

    /// Has the kernel begin to read a template's working set. What is cached costs a look-up.
    ///
    /// - Returns: whether there is one.
    static func prefetch(from template: Descriptor) -> Bool {
        guard let (set, memory) = load(from: template) else { return false }
        for run in set.runs {
            let end = (run.first + run.count) * pageSize
            for start in stride(from: run.first * pageSize, to: end, by: Int(requestSize)) {
                guard (try? memory.willNeed(at: Int64(start), count: Int64(min(requestSize, end - start)))) != nil else { return true }
            }
        }
        return true
    }

    /// Nil: there is none, or it is of no use.
    static func read(from template: Descriptor) -> WorkingSet? { load(from: template)?.set }

    var bytes: Int { Int(runs.reduce(0) { $0 + $1.count } * Self.pageSize) }

    /// Writes down what `microvm-vmm` answers to `touched`.
    ///
    /// - Throws: for what is no such answer, and what writing it fails with.
    static func record(_ answer: String, for template: Descriptor) throws {
        // No page has that number, and no run that many.
        let pages = answer.split(separator: " ").flatMap { $0.split(separator: "+", omittingEmptySubsequences: false).map { UInt64($0) ?? .max } }
        let set = WorkingSet(of: try openMemory(template).status(), pages: pages)
        guard set.isSound else { throw SandboxError(.monitorEnded, "virtual machine monitor: touched: \(answer.prefix(80))") }
        try template.replaceFile(name, with: Array(JSON.encode(set).utf8))
    }

    private init(of memory: stat, pages: [UInt64]) {
        inode = UInt64(memory.st_ino)
        size = UInt64(clamping: memory.st_size)
        changed = UInt64(clamping: memory.st_ctim.tv_sec) &* 1_000_000_000 &+ UInt64(clamping: memory.st_ctim.tv_nsec)
        self.pages = pages
    }

    private var runs: [(first: UInt64, count: UInt64)] {
        stride(from: 0, to: pages.count - 1, by: 2).map { (pages[$0], pages[$0 + 1]) }
    }

    /// Runs of pages of the file, in order and not too many.
    private var isSound: Bool {
        guard version == Self.currentVersion, !pages.isEmpty, pages.count % 2 == 0, pages.count / 2 <= Self.runLimit else { return false }
        let end = size / Self.pageSize
        var next: UInt64 = 0
        var total: UInt64 = 0
        for run in runs {
            guard run.first >= next, run.first < end, run.count > 0, run.count <= min(end - run.first, Self.pageLimit - total) else { return false }
            next = run.first + run.count
            total += run.count
        }
        return true
    }

    private static func load(from template: Descriptor) -> (set: WorkingSet, memory: Descriptor)? {
        guard let file = try? Descriptor.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, at: template),
            let bytes = try? file.readToEnd(limit: fileLimit), let set: WorkingSet = try? JSON.decode(from: bytes), set.isSound,
            let memory = try? openMemory(template), let status = try? memory.status(), set == WorkingSet(of: status, pages: set.pages)
        else { return nil }
        return (set, memory)
    }

    private static func openMemory(_ template: Descriptor) throws(SystemError) -> Descriptor {
        try Descriptor.open(memoryName, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, at: template)
    }
}
