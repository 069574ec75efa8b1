import Glibc
import Linux
import OCI

/// Which pages of its memory file a template's first machine had touched by its container's first output, or end, and which it had
/// written to when its agent answered. Later ones find the former read, or on their way, and the latter copied: without, each of
/// their first accesses waits for the disk, and each of their first writes for a copy.
///
/// A VMM tells it whose guest has run, so it is as hostile as anything of a guest's: all it can bring about is that some of the
/// template's own file is read, and a little of it copied.
struct WorkingSet: Codable, Equatable, Sendable {
    static let name = "working-set"
    private static let memoryName = "memory"
    private static let currentVersion = 2
    private static let pageSize: UInt64 = 4096
    private static let runLimit = 200
    /// 64 MiB: several times what a machine touches.
    private static let pageLimit: UInt64 = 16384
    /// 2 MiB: five times what an agent writes before it answers. Each machine has these for itself, whether it writes to them or not.
    private static let writtenLimit: UInt64 = 512
    /// Twice as large as the longest.
    private static let fileLimit = 16 << 10
    /// What the kernel reads at once of what it is told it will need, by default.
    private static let requestSize: UInt64 = 128 << 10

    private var version = WorkingSet.currentVersion
    /// Of the memory file, as are size in bytes and time of change in nanoseconds: of another file's pages it says nothing.
    private let inode: UInt64
    private let size: UInt64
    private let changed: UInt64
    /// Those touched: the first page and the number of pages of each run in turn, in the file's order.
    private let pages: [UInt64]
    /// As these, those written to at once.
    private let written: [UInt64]

    /// What a template's machine does about it.
    enum Use {
        case follow(WorkingSet)
        /// There is none yet: it is watched for one.
        case record
    }

    /// Has the kernel begin to read a template's working set. What is cached costs a look-up.
    ///
    /// - Returns: nil if there is none, or it is of no use.
    static func prefetch(from template: Descriptor) -> WorkingSet? {
        guard let (set, memory) = load(from: template) else { return nil }
        for run in runs(set.pages) {
            let end = (run.first + run.count) * pageSize
            for start in stride(from: run.first * pageSize, to: end, by: Int(requestSize)) {
                guard (try? memory.willNeed(at: Int64(start), count: Int64(min(requestSize, end - start)))) != nil else { return set }
            }
        }
        return set
    }

    /// Nil: there is none, or it is of no use.
    static func read(from template: Descriptor) -> WorkingSet? { load(from: template)?.set }

    var bytes: Int { Int(Self.runs(pages).reduce(0) { $0 + $1.count } * Self.pageSize) }

    /// For `microvm-vmm --prefault`; empty if nothing is known to be written.
    var writtenRuns: String { Self.runs(written).map { "\($0.first)+\($0.count)" }.joined(separator: ",") }

    /// Writes down what `microvm-vmm` answers to `touched`, and before that to `written`.
    ///
    /// - Throws: for what is no such answer, and what writing it fails with.
    static func record(touched: String, written: String, for template: Descriptor) throws {
        let set = WorkingSet(of: try openMemory(template).status(), pages: pages(touched), written: pages(written))
        guard set.isSound else { throw SandboxError(.monitorEnded, "virtual machine monitor: touched: \(touched.prefix(80)), written: \(written.prefix(80))") }
        try template.replaceFile(name, with: Array(JSON.encode(set).utf8))
    }

    private static func pages(_ answer: String) -> [UInt64] {
        // No page has that number, and no run that many.
        answer.split(separator: " ").flatMap { $0.split(separator: "+", omittingEmptySubsequences: false).map { UInt64($0) ?? .max } }
    }

    private init(of memory: stat, pages: [UInt64], written: [UInt64]) {
        inode = UInt64(memory.st_ino)
        size = UInt64(clamping: memory.st_size)
        changed = UInt64(clamping: memory.st_ctim.tv_sec) &* 1_000_000_000 &+ UInt64(clamping: memory.st_ctim.tv_nsec)
        self.pages = pages
        self.written = written
    }

    private static func runs(_ pages: [UInt64]) -> [(first: UInt64, count: UInt64)] {
        stride(from: 0, to: pages.count - 1, by: 2).map { (pages[$0], pages[$0 + 1]) }
    }

    private var isSound: Bool {
        version == Self.currentVersion && !pages.isEmpty && isSound(pages, atMost: Self.pageLimit) && isSound(written, atMost: Self.writtenLimit)
    }

    /// Whether these are runs of pages of the file, in order and not too many.
    private func isSound(_ pages: [UInt64], atMost limit: UInt64) -> Bool {
        guard pages.count % 2 == 0, pages.count / 2 <= Self.runLimit else { return false }
        let end = size / Self.pageSize
        var next: UInt64 = 0
        var total: UInt64 = 0
        for run in Self.runs(pages) {
            guard run.first >= next, run.first < end, run.count > 0, run.count <= min(end - run.first, limit - total) else { return false }
            next = run.first + run.count
            total += run.count
        }
        return true
    }

    private static func load(from template: Descriptor) -> (set: WorkingSet, memory: Descriptor)? {
        guard let file = try? Descriptor.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, at: template),
            let bytes = try? file.readToEnd(limit: fileLimit), let set: WorkingSet = try? JSON.decode(from: bytes), set.isSound,
            let memory = try? openMemory(template), let status = try? memory.status(), set == WorkingSet(of: status, pages: set.pages, written: set.written)
        else { return nil }
        return (set, memory)
    }

    private static func openMemory(_ template: Descriptor) throws(SystemError) -> Descriptor {
        try Descriptor.open(memoryName, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, at: template)
    }
}
