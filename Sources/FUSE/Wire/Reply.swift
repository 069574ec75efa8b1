import GuestMemory
import Linux

/// An answer being written: the body straight into the guest's buffer, the header last.
struct Reply {
    /// struct fuse_out_header.
    static let headerSize = 16

    private var header: GuestBuffer
    private var body: GuestBuffer
    /// Bytes of room for a body.
    let capacity: Int

    /// Nil when there is no room for a header: the request cannot be answered.
    init?(_ target: GuestBuffer) {
        header = target
        body = target
        guard (try? body.skip(Self.headerSize)) != nil else { return nil }
        capacity = body.remaining
    }

    /// Room left in the body.
    var remaining: Int { body.remaining }

    @inline(__always)
    mutating func write<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value) throws(SystemError) {
        do { try body.write(value) } catch { throw Self.tooShort }
    }

    mutating func write(_ bytes: ArraySlice<UInt8>) throws(SystemError) {
        do { try body.write(bytes) } catch { throw Self.tooShort }
    }

    mutating func write(_ bytes: [UInt8]) throws(SystemError) { try write(bytes[...]) }

    mutating func zeroes(_ count: Int) throws(SystemError) {
        var left = count
        while left >= 8 {
            try write(UInt64(0))
            left -= 8
        }
        while left > 0 {
            try write(UInt8(0))
            left -= 1
        }
    }

    /// Fills the body with at most `count` bytes of `file`.
    mutating func fill(from file: Descriptor, at position: Int64, count: Int) throws(SystemError) {
        _ = try body.fill(from: file, at: position, count: count)
    }

    /// Writes the header over a body that is complete.
    ///
    /// - Returns: bytes of the whole answer.
    mutating func succeed(_ unique: UInt64) -> UInt32 { finish(unique, error: 0, length: Self.headerSize + capacity - body.remaining) }

    /// Writes a header with an error and no body, whatever of one was written before.
    mutating func fail(_ unique: UInt64, _ error: Errno) -> UInt32 {
        finish(unique, error: Int32(0) &- error.rawValue, length: Self.headerSize)
    }

    private mutating func finish(_ unique: UInt64, error: Int32, length: Int) -> UInt32 {
        do {
            try header.write(UInt32(clamping: length))
            try header.write(error)
            try header.write(unique)
            return UInt32(clamping: length)
        } catch { return 0 }
    }

    private static let tooShort = SystemError("no room for the answer", .invalidArgument)
}
