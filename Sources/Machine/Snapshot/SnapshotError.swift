/// Why a snapshot is not what it should be.
struct SnapshotError: Error, Equatable, Sendable, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
