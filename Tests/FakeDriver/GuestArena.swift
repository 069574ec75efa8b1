/// Hands out guest memory front to back. What is allocated after a mark can be given back at once.
public struct GuestArena {
    private let end: UInt64
    /// Where the next allocation starts looking; also the mark for ``release(to:)``.
    public private(set) var next: UInt64

    init(start: UInt64, end: UInt64) {
        next = start
        self.end = end
    }

    /// `count` bytes at a multiple of `alignment`, a power of two.
    public mutating func allocate(_ count: Int, alignment: UInt64 = 16) throws(FakeDriverError) -> UInt64 {
        let address = (next + alignment - 1) & ~(alignment - 1)
        guard address + UInt64(count) <= end else { throw .outOfMemory(count) }
        next = address + UInt64(count)
        return address
    }

    public mutating func release(to mark: UInt64) {
        next = mark
    }
}
