import KVM

/// Appends little-endian values; ``StateReader`` takes them back in the same order.
struct StateWriter {
    private(set) var bytes: [UInt8] = []

    mutating func write<Value: FixedWidthInteger>(_ value: Value) {
        for shift in 0..<MemoryLayout<Value>.size { bytes.append(UInt8(truncatingIfNeeded: value >> Value(8 * shift))) }
    }

    mutating func write(_ value: Bool) { write(UInt8(value ? 1 : 0)) }

    /// A length (32 bits) and the bytes.
    mutating func write(_ content: [UInt8]) {
        write(UInt32(clamping: content.count))
        bytes += content
    }

    /// A structure of the kernel's, as ``write(_:)-([UInt8])``.
    mutating func write<Value: BitwiseCopyable>(structure value: Value) { write(PlainStructure.bytes(of: value)) }

    /// A count (32 bits) and the elements.
    mutating func write<Element>(_ elements: [Element], _ body: (inout StateWriter, Element) -> Void) {
        write(UInt32(clamping: elements.count))
        for element in elements { body(&self, element) }
    }

    /// A tag and a length, and what `body` writes.
    mutating func section(_ tag: StateSection, _ body: (inout StateWriter) -> Void) {
        var content = StateWriter()
        body(&content)
        write(tag.rawValue)
        write(content.bytes)
    }
}

/// The parts of a state file, in this order; vCPUs and devices as often as there are any.
enum StateSection: UInt32 {
    case identity = 1
    case machine = 2
    case vcpu = 3
    case device = 4
    case end = 5
}
