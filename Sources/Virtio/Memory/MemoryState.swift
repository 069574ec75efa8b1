import Linux

/// Which blocks of a memory device's region are plugged in: what a snapshot keeps of it.
public struct MemoryBlocks: Sendable {
    /// Bytes of a block; the unit of requests.
    public static let size: UInt64 = 2 << 20
    /// Linux adds memory in sections: the last one must be usable as a whole, even if not all of it is asked for.
    public static let section: UInt64 = 128 << 20

    let address: UInt64
    let requested: UInt64
    /// Bytes in which blocks may lie.
    let usable: UInt64
    private var isPlugged: [Bool]
    /// Bytes.
    private(set) var plugged: UInt64 = 0

    /// - Parameter requested: far below the end of what counts bytes.
    init(address: UInt64, requested: UInt64) {
        self.address = address
        self.requested = requested
        usable = Self.usable(requested)
        isPlugged = Array(repeating: false, count: Int(usable / Self.size))
    }

    /// How much of the region memory must lie behind.
    public static func usable(_ requested: UInt64) -> UInt64 { (requested + section - 1) / section * section }

    /// The indices of `count` blocks from guest address `start` on; nil if they are not blocks of the usable region.
    private func range(_ start: UInt64, _ count: UInt16) -> Range<Int>? {
        guard start >= address, (start - address) % Self.size == 0, count > 0 else { return nil }
        let first = (start - address) / Self.size
        guard first < UInt64(isPlugged.count), UInt64(count) <= UInt64(isPlugged.count) - first else { return nil }
        return Int(first)..<Int(first) + Int(count)
    }

    enum Answer: UInt16 {
        case acknowledged = 0
        /// Not now.
        case refused = 1
        /// Never.
        case error = 3
    }

    mutating func plug(_ start: UInt64, _ count: UInt16) -> Answer {
        guard let range = range(start, count), !isPlugged[range].contains(true) else { return .error }
        let bytes = UInt64(count) * Self.size
        guard bytes <= requested - plugged else { return .refused }
        for index in range { isPlugged[index] = true }
        plugged += bytes
        return .acknowledged
    }

    mutating func unplug(_ start: UInt64, _ count: UInt16) -> Answer {
        guard let range = range(start, count), !isPlugged[range].contains(false) else { return .error }
        for index in range { isPlugged[index] = false }
        plugged -= UInt64(count) * Self.size
        return .acknowledged
    }

    mutating func unplugAll() -> Answer {
        for index in isPlugged.indices { isPlugged[index] = false }
        plugged = 0
        return .acknowledged
    }

    enum Kind: UInt16 {
        case plugged = 0
        case unplugged = 1
        case mixed = 2
    }

    func kind(_ start: UInt64, _ count: UInt16) -> Kind? {
        guard let range = range(start, count) else { return nil }
        let blocks = isPlugged[range]
        return !blocks.contains(false) ? .plugged : blocks.contains(true) ? .mixed : .unplugged
    }

    // MARK: Snapshots

    var saved: [UInt8] {
        var writer = StateWriter()
        writer.write(requested)
        writer.write(isPlugged.map { $0 ? 1 : 0 })
        return writer.bytes
    }

    /// Takes a state in which nothing was asked for, as of a template, or the same was.
    mutating func restore(_ bytes: [UInt8]) throws(SnapshotError) {
        var reader = StateReader(bytes[...])
        let requested = try reader.read(UInt64.self)
        let blocks = try reader.readBytes(limit: isPlugged.count)
        guard reader.isAtEnd, blocks.allSatisfy({ $0 <= 1 }) else { throw SnapshotError("memory device: blocks") }
        if requested == 0, blocks.isEmpty { return }
        guard requested == self.requested, blocks.count == isPlugged.count else {
            throw SnapshotError("memory device: \(requested) bytes were asked for, not \(self.requested)")
        }
        isPlugged = blocks.map { $0 == 1 }
        plugged = UInt64(isPlugged.count { $0 }) * Self.size
        guard plugged <= requested else { throw SnapshotError("memory device: more is plugged in than was asked for") }
    }
}
