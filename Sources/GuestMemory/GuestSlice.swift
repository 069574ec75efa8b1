import CLinux
import Glibc

/// A checked piece of guest memory. The guest may change its bytes at any time: copy a value out
/// before judging it, and never look twice.
///
/// A slice must not outlive the request it was made for. All integers are little-endian, as virtio 1.x
/// and every x86 structure is.
@safe
public struct GuestSlice: @unchecked Sendable {
    @usableFromInline let base: UnsafeMutableRawPointer
    /// Length in bytes.
    public let count: Int
    /// False for a piece of a file, which may end before the slice does: only system calls may touch it, they survive that.
    @usableFromInline let isMemory: Bool

    init(base: UnsafeMutableRawPointer, count: Int, isMemory: Bool = true) {
        unsafe self.base = base
        self.count = count
        self.isMemory = isMemory
    }

    /// The integer at `offset`; needs no alignment.
    @inlinable
    @inline(__always)
    public func load<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type = T.self, at offset: Int = 0) throws(GuestMemoryError) -> T {
        try checkRange(offset, MemoryLayout<T>.size)
        return unsafe T(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: T.self))
    }

    @inlinable
    @inline(__always)
    public func store<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at offset: Int = 0) throws(GuestMemoryError) {
        try checkRange(offset, MemoryLayout<T>.size)
        unsafe base.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
    }

    /// A ring index: everything the guest wrote before it is visible after this.
    @inlinable
    @inline(__always)
    public func loadAcquire(at offset: Int) throws(GuestMemoryError) -> UInt16 {
        try checkRange(offset, 2)
        return unsafe clinux_load_acquire(base + offset)
    }

    /// A ring index: everything written before is visible to the guest once it sees this.
    @inline(__always)
    public func storeRelease(_ value: UInt16, at offset: Int) throws(GuestMemoryError) {
        try checkRange(offset, 2)
        unsafe clinux_store_release(base + offset, value)
    }

    /// Sets bits of the 8-byte integer at `offset`, in one step for everybody who shares the memory.
    public func setBits(_ bits: UInt64, at offset: Int) throws(GuestMemoryError) {
        try checkRange(offset, 8)
        unsafe clinux_set_bits(base + offset, bits)
    }

    /// A copy of `count` bytes at `offset`.
    public func bytes(at offset: Int = 0, count: Int) throws(GuestMemoryError) -> [UInt8] {
        try checkRange(offset, count)
        return unsafe [UInt8](UnsafeRawBufferPointer(start: base + offset, count: count))
    }

    /// Copies `count` bytes at `offset` to `position` of `bytes`, where there must be room.
    func copy(at offset: Int, count: Int, to bytes: inout [UInt8], at position: Int) throws(GuestMemoryError) {
        try checkRange(offset, count)
        guard position >= 0, position <= bytes.count, count <= bytes.count - position else {
            throw .outOfSlice(offset: position, count: count, sliceCount: bytes.count)
        }
        unsafe bytes.withUnsafeMutableBytes { target in
            if let start = target.baseAddress { unsafe memcpy(start + position, base + offset, count) }
        }
    }

    /// Copies `bytes` to `offset`.
    public func write(_ bytes: [UInt8], at offset: Int = 0) throws(GuestMemoryError) {
        try write(bytes[...], at: offset)
    }

    /// Copies `bytes` to `offset`.
    public func write(_ bytes: ArraySlice<UInt8>, at offset: Int = 0) throws(GuestMemoryError) {
        try checkRange(offset, bytes.count)
        unsafe bytes.withUnsafeBytes { source in
            if let start = source.baseAddress { unsafe memcpy(base + offset, start, source.count) }
        }
    }

    /// Sets all bytes.
    public func fill(_ byte: UInt8) throws(GuestMemoryError) {
        try checkRange(0, count)
        unsafe memset(base, Int32(byte), count)
    }

    /// Copies all of `source`, which may overlap, to the beginning.
    public func copy(from source: GuestSlice) throws(GuestMemoryError) {
        try checkRange(0, source.count)
        try source.checkRange(0, source.count)
        unsafe memmove(base, source.base, source.count)
    }

    /// The part of `count` bytes at `offset`.
    public func slice(at offset: Int, count: Int) throws(GuestMemoryError) -> GuestSlice {
        guard isInside(offset, count) else { throw .outOfSlice(offset: offset, count: count, sliceCount: self.count) }
        return unsafe GuestSlice(base: base + offset, count: count, isMemory: isMemory)
    }

    @inlinable
    @inline(__always)
    func checkRange(_ offset: Int, _ count: Int) throws(GuestMemoryError) {
        guard isInside(offset, count) else { throw .outOfSlice(offset: offset, count: count, sliceCount: self.count) }
        guard isMemory else { throw .notMemory }
    }

    @inlinable
    @inline(__always)
    func isInside(_ offset: Int, _ count: Int) -> Bool {
        offset >= 0 && count >= 0 && offset <= self.count && count <= self.count - offset
    }
}

/// A full memory barrier: what was stored before is visible before anything loaded after
/// (virtio 1.2, 2.7.10: between publishing an index and reading the other side's event index).
@inline(__always)
public func memoryFence() {
    clinux_fence()
}
