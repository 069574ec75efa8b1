import Glibc
import OCI
import Linux

/// Ledgers of sandboxes that may be gone: `<root>/.ledgers/<id>.json`, the latest ``limit`` of them.
public struct LedgerStore {
    static let directoryName = ".ledgers"
    static let limit = 64
    private static let fileLimit = 64 << 10

    private let root: StateRoot

    public init(_ root: StateRoot) {
        self.root = root
    }

    public func save(_ record: LedgerRecord) throws {
        let directory = try root.makeDirectory(Self.directoryName)
        try directory.replaceFile("\(record.id).json", with: Array(JSON.encode(record).utf8))
        try prune(directory)
    }

    /// - Parameter id: nil: of the sandbox that ended last.
    public func load(_ id: String?) throws -> LedgerRecord {
        let directory = try openDirectory()
        guard let name = try id.map({ "\($0).json" }) ?? byAge(directory).first else {
            throw SandboxError(.missing(.noSuchFileOrDirectory), "\(root.path): no sandbox was run here yet")
        }
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try Descriptor.open(name, O_RDONLY | O_NOFOLLOW, at: directory).readToEnd(limit: Self.fileLimit)
        } catch {
            throw SandboxError(.missing(error.errno), "\(id ?? name): no ledger of such a sandbox (the last \(Self.limit) are kept)")
        }
        return try JSON.decode(from: bytes)
    }

    /// Every ledger that is kept and can be read, the youngest first.
    public func all() throws -> [LedgerRecord] {
        let directory = try openDirectory()
        return try byAge(directory).compactMap { name in
            let bytes = try? Descriptor.open(name, O_RDONLY | O_NOFOLLOW, at: directory).readToEnd(limit: Self.fileLimit)
            return bytes.flatMap { try? JSON.decode(from: $0) }
        }
    }

    private func openDirectory() throws(SandboxError) -> Descriptor {
        do throws(SystemError) { return try Descriptor.open("\(root.path)/\(Self.directoryName)", O_RDONLY | O_DIRECTORY) } catch {
            throw SandboxError(.missing(error.errno), "\(root.path): no sandbox was run here yet")
        }
    }

    private func prune(_ directory: Descriptor) throws {
        let names = try directory.entryNames()
        guard names.count > Self.limit else { return }
        for name in try byAge(directory).dropFirst(Self.limit) { try? directory.remove(name) }
    }

    /// File names, the youngest first.
    private func byAge(_ directory: Descriptor) throws(SystemError) -> [String] {
        let dated = try directory.entryNames().filter { !$0.hasPrefix(".") }.map { name in
            let status = try? Descriptor.open(name, O_RDONLY, at: directory).status()
            return (name, status.map { $0.st_mtim.tv_sec * 1_000_000_000 + $0.st_mtim.tv_nsec } ?? 0)
        }
        return dated.sorted { $0.1 > $1.1 }.map(\.0)
    }
}
