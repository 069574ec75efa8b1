/// Takes values out of a state file. The file may come from anywhere: every length and count is held against what is
/// left before anything is made of it.
public struct StateReader: Sendable {
    private var rest: ArraySlice<UInt8>

    public init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    public var isAtEnd: Bool { rest.isEmpty }

    /// An integer of at most 64 bits.
    public mutating func read<Value: FixedWidthInteger>(_ type: Value.Type = Value.self) throws(SnapshotError) -> Value {
        Value(truncatingIfNeeded: try readWord(Value.bitWidth / 8))
    }

    /// Not generic, which for a thousand integers takes a millisecond in other modules.
    private mutating func readWord(_ count: Int) throws(SnapshotError) -> UInt64 {
        var word: UInt64 = 0
        for byte in try take(count).reversed() { word = word << 8 | UInt64(byte) }
        return word
    }

    public mutating func readBool() throws(SnapshotError) -> Bool {
        switch try read(UInt8.self) {
        case 0: return false
        case 1: return true
        case let other: throw SnapshotError("\(other) where 0 or 1 belongs")
        }
    }

    public mutating func readBytes(limit: Int) throws(SnapshotError) -> [UInt8] {
        let count = Int(try read(UInt32.self))
        guard count <= limit else { throw SnapshotError("\(count) bytes where at most \(limit) belong") }
        return Array(try take(count))
    }

    public mutating func readBytes(count: Int) throws(SnapshotError) -> [UInt8] {
        let bytes = try readBytes(limit: count)
        guard bytes.count == count else { throw SnapshotError("\(bytes.count) bytes where \(count) belong") }
        return bytes
    }

    public mutating func readArray<Element>(
        limit: Int, _ body: (inout StateReader) throws(SnapshotError) -> Element
    ) throws(SnapshotError) -> [Element] {
        let count = Int(try read(UInt32.self))
        guard count <= limit else { throw SnapshotError("\(count) elements where at most \(limit) belong") }
        var elements: [Element] = []
        for _ in 0..<count { elements.append(try body(&self)) }
        return elements
    }

    public mutating func readOptional<Value>(
        _ body: (inout StateReader) throws(SnapshotError) -> Value
    ) throws(SnapshotError) -> Value? {
        try readBool() ? try body(&self) : nil
    }

    /// The content of the next section, which must be a `tag` and be used up by `body`.
    public mutating func section<Content>(
        _ tag: some RawRepresentable<UInt32>, _ body: (inout StateReader) throws(SnapshotError) -> Content
    ) throws(SnapshotError) -> Content {
        let found = try read(UInt32.self)
        guard found == tag.rawValue else { throw SnapshotError("section \(found) where \(tag) belongs") }
        let count = Int(try read(UInt32.self))
        var reader = StateReader(try take(count))
        let content = try body(&reader)
        guard reader.isAtEnd else { throw SnapshotError("section \(tag) is longer than what it holds") }
        return content
    }

    private mutating func take(_ count: Int) throws(SnapshotError) -> ArraySlice<UInt8> {
        guard count <= rest.count else { throw SnapshotError("the state ends early") }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }
}
