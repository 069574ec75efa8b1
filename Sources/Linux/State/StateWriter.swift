/// Appends little-endian values; ``StateReader`` takes them back in the same order.
public struct StateWriter: Sendable {
    public private(set) var bytes: [UInt8] = []

    public init() {}

    /// An integer of at most 64 bits.
    public mutating func write<Value: FixedWidthInteger>(_ value: Value) {
        write(word: UInt64(truncatingIfNeeded: value), count: Value.bitWidth / 8)
    }

    private mutating func write(word: UInt64, count: Int) {
        for index in 0..<count { bytes.append(UInt8(truncatingIfNeeded: word >> (8 * UInt64(truncatingIfNeeded: index)))) }
    }

    public mutating func write(_ value: Bool) { write(UInt8(value ? 1 : 0)) }

    /// A length (32 bits) and the bytes.
    public mutating func write(_ content: [UInt8]) {
        write(UInt32(clamping: content.count))
        bytes += content
    }

    /// A count (32 bits) and the elements.
    public mutating func write<Element>(_ elements: [Element], _ body: (inout StateWriter, Element) -> Void) {
        write(UInt32(clamping: elements.count))
        for element in elements { body(&self, element) }
    }

    /// Whether there is a value, and the value.
    public mutating func write<Value>(optional value: Value?, _ body: (inout StateWriter, Value) -> Void) {
        write(value != nil)
        if let value { body(&self, value) }
    }

    /// A tag and a length, and what `body` writes.
    public mutating func section(_ tag: some RawRepresentable<UInt32>, _ body: (inout StateWriter) -> Void) {
        var content = StateWriter()
        body(&content)
        write(tag.rawValue)
        write(content.bytes)
    }
}
