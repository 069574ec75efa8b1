/// A message of the kernel's netlink protocols (rtnetlink(7)): a header of its type and attributes, which may hold attributes.
struct NetlinkMessage {
    private(set) var bytes: [UInt8]

    /// Length, type, flags, sequence number and port come first; the socket fills them in.
    static let headerSize = 16

    let type: UInt16

    /// - Parameter header: the type's own, such as `struct ifinfomsg`.
    init(_ type: UInt16, header: [UInt8]) {
        self.type = type
        bytes = [UInt8](repeating: 0, count: Self.headerSize) + header
        pad()
    }

    mutating func add(_ attribute: UInt16, _ value: [UInt8]) {
        append(UInt16(truncatingIfNeeded: value.count + 4))
        append(attribute)
        bytes += value
        pad()
    }

    mutating func add(_ attribute: UInt16, _ value: UInt8) { add(attribute, [value]) }

    mutating func add(_ attribute: UInt16, _ value: UInt32) { add(attribute, littleEndianBytes(value)) }

    mutating func add(_ attribute: UInt16, text: String) { add(attribute, Array(text.utf8) + [0]) }

    /// An attribute of attributes.
    mutating func nest(_ attribute: UInt16, _ body: (inout NetlinkMessage) -> Void) {
        let start = bytes.count
        append(UInt16(0))
        append(attribute)
        body(&self)
        store(UInt16(truncatingIfNeeded: bytes.count - start), at: start)
    }

    /// As it is sent.
    func finished(flags: UInt16, sequence: UInt32) -> [UInt8] {
        var message = self
        message.store(UInt32(truncatingIfNeeded: bytes.count), at: 0)
        message.store(type, at: 4)
        message.store(flags, at: 6)
        message.store(sequence, at: 8)
        return message.bytes
    }

    private mutating func append<Value: FixedWidthInteger>(_ value: Value) { bytes += littleEndianBytes(value) }

    private mutating func store<Value: FixedWidthInteger>(_ value: Value, at offset: Int) {
        for (index, byte) in littleEndianBytes(value).enumerated() { bytes[offset + index] = byte }
    }

    private mutating func pad() {
        while bytes.count % 4 != 0 { bytes.append(0) }
    }
}

/// A message from the kernel, taken apart.
struct NetlinkReply {
    let type: UInt16
    /// What comes after the netlink header.
    let body: ArraySlice<UInt8>

    /// The type's own header.
    func header<Value: FixedWidthInteger>(_ type: Value.Type = Value.self, at offset: Int) -> Value { littleEndian(body.dropFirst(offset)) }

    /// By number, behind the type's header of `size` bytes.
    func attributes(after size: Int) -> [UInt16: ArraySlice<UInt8>] { Self.attributes(body.dropFirst((size + 3) & ~3)) }

    static func attributes(_ bytes: ArraySlice<UInt8>) -> [UInt16: ArraySlice<UInt8>] {
        var found: [UInt16: ArraySlice<UInt8>] = [:]
        var rest = bytes
        while rest.count >= 4 {
            let length = Int(littleEndian(rest, as: UInt16.self))
            guard length >= 4, length <= rest.count else { break }
            // The upper two bits say how to read it (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
            found[littleEndian(rest.dropFirst(2), as: UInt16.self) & 0x3fff] = rest.dropFirst(4).prefix(length - 4)
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return found
    }
}

func littleEndianBytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    (0..<MemoryLayout<Value>.size).map { UInt8(truncatingIfNeeded: value >> Value(8 * $0)) }
}

/// The first bytes as an integer; what is missing counts as zero.
func littleEndian<Value: FixedWidthInteger>(_ bytes: ArraySlice<UInt8>, as type: Value.Type = Value.self) -> Value {
    bytes.prefix(MemoryLayout<Value>.size).reversed().reduce(0) { $0 << 8 | Value(truncatingIfNeeded: $1) }
}
