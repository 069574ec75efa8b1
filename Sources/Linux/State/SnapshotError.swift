/// Why a snapshot is not what it should be.
public struct SnapshotError: Error, Equatable, Sendable, CustomStringConvertible {
    public let description: String

    public init(_ description: String) { self.description = description }
}
