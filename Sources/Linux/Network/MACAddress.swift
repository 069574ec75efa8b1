/// An Ethernet address (48 bits).
public struct MACAddress: Hashable, Sendable, CustomStringConvertible {
    public static let count = 6
    public static let zero = MACAddress(value: 0)

    /// The first byte is the highest.
    private let value: UInt64

    private init(value: UInt64) { self.value = value }

    /// - Parameter bytes: six of them, or there is no address.
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == Self.count else { return nil }
        value = bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// `02:00:5e:10:00:01`.
    public init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        let bytes = parts.compactMap { $0.utf8.count == 2 && $0.first != "+" ? UInt8($0, radix: 16) : nil }
        guard bytes.count == parts.count else { return nil }
        self.init(bytes)
    }

    public var bytes: [UInt8] { (0..<Self.count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * (Self.count - 1 - $0))) } }

    public var description: String { bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":") }

    /// Whether the six bytes from `offset` on are this address. They must be there.
    @inline(__always)
    public func isAt(_ offset: Int, of bytes: [UInt8]) -> Bool {
        var found: UInt64 = 0
        for index in offset..<offset + Self.count { found = found << 8 | UInt64(bytes[index]) }
        return found == value
    }
}
