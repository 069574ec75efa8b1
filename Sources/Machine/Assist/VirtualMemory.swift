import GuestMemory

/// Guest memory by the guest's own addresses. What faults halfway has been done up to there.
extension PageTables {
    /// - Throws: ``GuestFault``.
    func read(_ address: UInt64, _ count: Int) throws -> [UInt8] {
        var result: [UInt8] = []
        try forEachPiece(address, count, write: false) { slice, _ in result += try slice.bytes(count: slice.count) }
        return result
    }

    /// - Throws: ``GuestFault``.
    func write(_ bytes: [UInt8], to address: UInt64) throws {
        try forEachPiece(address, bytes.count, write: true) { slice, offset in
            try slice.write(bytes[offset..<offset + slice.count])
        }
    }

    /// - Throws: ``GuestFault``.
    func fill(_ address: UInt64, _ count: Int, with byte: UInt8) throws {
        try forEachPiece(address, count, write: true) { slice, _ in try slice.fill(byte) }
    }

    /// - Throws: ``GuestFault``.
    func copy(_ source: UInt64, to target: UInt64, _ count: Int) throws {
        try forEachPiece(target, count, write: true) { slice, offset in
            try forEachPiece(source &+ UInt64(offset), slice.count, write: false) { part, partOffset in
                try slice.slice(at: partOffset, count: part.count).copy(from: part)
            }
        }
    }

    /// - Parameter pattern: as many bytes as a divisor of a page's, of which `address` is a multiple.
    /// - Throws: ``GuestFault``.
    func fill(_ address: UInt64, _ count: Int, with pattern: [UInt8]) throws {
        let page = Array(repeatElement(pattern, count: 4096 / pattern.count).joined())
        try forEachPiece(address, count, write: true) { slice, _ in try slice.write(page[..<slice.count]) }
    }

    /// - Throws: ``GuestFault``.
    func fillWithRandomBytes(_ address: UInt64, _ count: Int) throws {
        try forEachPiece(address, count, write: true) { slice, _ in
            var buffer = GuestBuffer()
            buffer.append(slice)
            _ = try buffer.fillWithRandomBytes(count: slice.count)
        }
    }

    private func forEachPiece(_ address: UInt64, _ count: Int, write: Bool, _ body: (GuestSlice, Int) throws -> Void) throws {
        var done = 0
        while done < count {
            let current = address &+ UInt64(done)
            let piece = min(count - done, 4096 - Int(current & 0xfff))
            do {
                let physical = try physicalAddress(current, write: write)
                try body(try memory.slice(physical, UInt64(piece)), done)
            } catch is GuestMemoryError {
                // Tables or operand where there is no RAM: a CPU would not fault, but only a guest out of its mind asks.
                throw GuestFault.generalProtection
            }
            done += piece
        }
    }
}
