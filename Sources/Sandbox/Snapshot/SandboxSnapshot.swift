import Glibc
public import Linux
import OCI

/// A snapshot of a sandbox on disk: the machine's own (`state` and `memory`), and what a monitor must know to go on with its container.
///
/// What is in one is as secret as the guest, and whoever can write to it owns what is made of it: it is its user's alone, and what is
/// not is not used.
public struct SandboxSnapshot: Codable, Sendable, Equatable {
    static let fileName = "sandbox.json"
    private static let currentVersion = 1
    private static let limit = 32 << 20
    private static let stateName = "state"
    private static let stateLimit = 160 << 20

    var version = SandboxSnapshot.currentVersion
    public let id: String
    /// What the guest's agent calls the container.
    let guestID: String
    let cpus: Int
    /// Bytes.
    let memory: Int
    /// Bytes that were plugged in.
    let extraMemory: Int
    public let machine: SandboxMachine.Options
    let shares: [Plan.Share]
    public let bundle: String
    let rootfs: String
    let isPaused: Bool
    /// Absolute: the snapshot whose memory this one's is a difference to.
    let parent: String?
    /// The config.json the container was created with.
    let config: String
    /// RFC 3339.
    public let created: String

    /// As it is in its file.
    private struct Sealed: Codable {
        let sandbox: SandboxSnapshot
        /// XXH64 of the machine's state file, and of `sandbox` as this program writes it.
        let state: String
        let checksum: String
    }

    // MARK: Reading

    /// Opens a snapshot's directory and reads what is there for a monitor; the rest is the VMM's to read and judge.
    ///
    /// - Throws: ``SandboxError/Kind/badInput`` with what is wrong with it.
    public static func read(_ path: String) throws -> (snapshot: SandboxSnapshot, directory: Descriptor) {
        do {
            let directory = try openOwn("", path, O_DIRECTORY, at: nil)
            let bytes = try openOwn(fileName, fileName, 0, at: directory).readToEnd(limit: limit)
            let sealed: Sealed
            do {
                let version = try (JSON.decode(from: bytes) as Versioned).sandbox.version
                guard version == currentVersion else { throw SnapshotError("format \(version); this program reads format \(currentVersion)") }
                sealed = try JSON.decode(from: bytes)
            } catch { throw SnapshotError("\(fileName): \(error)") }
            guard sealed.checksum == (try checksum(sealed.sandbox)) else { throw SnapshotError("\(fileName): its checksum is wrong") }
            guard sealed.state == (try stateHash(directory)) else { throw SnapshotError("the state file is not the one saved with \(fileName)") }
            return (sealed.sandbox, directory)
        } catch let error as SystemError where error.errno == .noSuchFileOrDirectory {
            throw SandboxError(.missing(error.errno), "\(path): there is no snapshot")
        } catch let error where !(error is SandboxError) {
            throw SandboxError(.badInput, "\(path): \(error)")
        }
    }

    private struct Versioned: Decodable {
        struct Sandbox: Decodable { let version: Int }
        let sandbox: Sandbox
    }

    private static func openOwn(_ name: String, _ path: String, _ flags: Int32, at parent: Descriptor?) throws -> Descriptor {
        let file = try Descriptor.open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | flags, at: parent)
        let status = try file.status()
        let title = name.isEmpty ? "" : "\(name): "
        guard status.st_uid == effectiveUserID() else { throw SnapshotError("\(title)it belongs to user \(status.st_uid)") }
        guard status.st_mode & 0o022 == 0 else { throw SnapshotError("\(title)others can write to it") }
        return file
    }

    /// The snapshot this one was saved against, if it was.
    func openParent() throws -> Descriptor? {
        guard let parent else { return nil }
        do { return try Self.openOwn("", parent, O_DIRECTORY, at: nil) } catch { throw SandboxError(.badInput, "the parent, \(parent): \(error)") }
    }

    // MARK: Writing

    /// Writes the file beside a machine's snapshot.
    func write(to directory: Descriptor) throws {
        let sealed = Sealed(sandbox: self, state: try Self.stateHash(directory), checksum: try Self.checksum(self))
        let file = try Descriptor.open(Self.fileName, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode: 0o600, at: directory)
        try file.writeAll(JSON.encode(sealed))
        try file.synchronize()
    }

    private static func checksum(_ snapshot: SandboxSnapshot) throws -> String {
        hexadecimal(ContentHash.of(Array(try JSON.encode(snapshot).utf8)))
    }

    private static func stateHash(_ directory: Descriptor) throws -> String {
        hexadecimal(ContentHash.of(try openOwn(stateName, stateName, 0, at: directory).readToEnd(limit: stateLimit)))
    }

    private static func hexadecimal(_ hash: UInt64) -> String { String(hash, radix: 16) }
}
