/// What a snapshot keeps of a persistent memory device: the guest has mapped the range, so a restored
/// machine must have it in the same place.
public struct PmemState: Equatable, Sendable {
    public let address: UInt64
    public let count: UInt64

    public init(address: UInt64, count: UInt64) {
        self.address = address
        self.count = count
    }
}
