import Linux

/// What a client holds, written down and taken up again: flags agreed on, numbers of shares, nodes, open files, mappings.
///
/// Nobody may serve a request meanwhile.
extension FileServer {
    private static let shareLimit = 4096

    /// - Throws: for a file that is open and has no path it could be found by again.
    public func savedState() throws -> [UInt8] {
        var writer = StateWriter()
        writer.write(optional: agreed) { $0.write($1) }
        writer.write(shares.nextNumber)
        writer.write(try shares.all.map { try $0.saved(numbers) }) { $1.write(to: &$0) }
        return writer.bytes
    }

    /// Takes what ``savedState()`` gave: the client goes on without a FUSE_INIT. Every share it had must have been added again,
    /// its files the same and unchanged; shares it did not have get numbers it has not heard of.
    ///
    /// - Throws: which file is not what it was.
    public func restoreState(_ saved: [UInt8]) throws {
        var reader = StateReader(saved[...])
        let flags = try reader.readOptional { reader throws(SnapshotError) in try reader.read(UInt64.self) }
        let nextNumber: UInt32 = try reader.read()
        let held = try reader.readArray(limit: Self.shareLimit) { reader throws(SnapshotError) in try SavedShare(from: &reader) }
        guard reader.isAtEnd else { throw SnapshotError("file server: there is something after the end") }
        try shares.restore(held, nextNumber: nextNumber, numbers)
        setAgreed(flags)
    }
}

extension ShareTable {
    /// Puts what a client held of shares into those of the same name.
    func restore(_ saved: [SavedShare], nextNumber: UInt32, _ numbers: DescriptorNumbers) throws {
        guard (1...NodeID.shareLimit).contains(nextNumber), Set(saved.map(\.number)).count == saved.count else {
            throw SnapshotError("file server: numbers of shares")
        }
        var given = all
        var next = nextNumber
        var restored: [Share] = []
        for held in saved {
            guard (1..<nextNumber).contains(held.number) else { throw SnapshotError("file server: number of a share") }
            guard let index = given.firstIndex(where: { $0.name.string.bytes == held.name }) else {
                throw SnapshotError("share \(String(decoding: held.name, as: UTF8.self)) is missing")
            }
            restored.append(try make(held.number, like: given.remove(at: index)) { try $0.restore(held, numbers) })
        }
        for share in given {
            guard next < NodeID.shareLimit else { throw SnapshotError("file server: too many shares") }
            restored.append(try make(next, like: share) { _ in })
            next += 1
        }
        replaceAll(restored, nextNumber: next)
    }
}
