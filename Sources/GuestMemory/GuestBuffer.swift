import CLinux
import Glibc
import Linux

/// One direction of a descriptor chain: slices read or written front to back with a cursor.
///
/// Which way it may be used is up to the device: what the driver marked device-writable is written,
/// the rest read. Transfers to and from files go straight between guest pages and the file.
public struct GuestBuffer: Sendable {
    @usableFromInline var slices: [GuestSlice] = []
    /// The slice the cursor is in, and how far.
    @usableFromInline var index = 0
    @usableFromInline var offset = 0
    /// Bytes between the cursor and the end.
    public internal(set) var remaining = 0

    public init() {}

    public init(_ slices: [GuestSlice]) {
        for slice in slices { append(slice) }
    }

    /// No slice at all, not even an empty one.
    public var isEmpty: Bool { slices.isEmpty }

    /// Adds a slice at the end. The total cannot overflow: a chain holds at most 32,768 slices of 4 GiB.
    public mutating func append(_ slice: GuestSlice) {
        slices.append(slice)
        remaining += slice.count
    }

    /// Adds what is left of `other` at the end; its cursor stays.
    public mutating func append(remainderOf other: borrowing GuestBuffer) {
        var start = other.offset
        for position in other.index..<max(other.index, other.slices.count) {
            let slice = other.slices[position]
            if let rest = try? slice.slice(at: start, count: slice.count - start) { append(rest) }
            start = 0
        }
    }

    /// Empties the buffer and keeps its storage for the next request.
    public mutating func removeAll() {
        slices.removeAll(keepingCapacity: true)
        index = 0
        offset = 0
        remaining = 0
    }

    /// Forgets what is before the cursor, now and then: a buffer that is added to for ever stays short.
    public mutating func dropRead() {
        guard index >= 64, index >= slices.count / 2 else { return }
        slices.removeFirst(index)
        index = 0
    }

    /// Moves the cursor `count` bytes on.
    public mutating func skip(_ count: Int) throws(GuestMemoryError) {
        guard count >= 0, count <= remaining else { throw .bufferTooShort(needed: count, remaining: remaining) }
        advance(count)
    }

    /// The next `count` bytes as a buffer of their own; the cursor moves past them.
    public mutating func take(_ count: Int) throws(GuestMemoryError) -> GuestBuffer {
        guard count >= 0, count <= remaining else { throw .bufferTooShort(needed: count, remaining: remaining) }
        var taken = GuestBuffer()
        while taken.remaining < count {
            let slice = slices[index]
            let part = min(slice.count - offset, count - taken.remaining)
            taken.append(try slice.slice(at: offset, count: part))
            advance(part)
        }
        return taken
    }

    // MARK: Values

    /// Copies an integer out and moves on.
    @inlinable
    @inline(__always)
    public mutating func read<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type = T.self) throws(GuestMemoryError) -> T {
        let size = MemoryLayout<T>.size
        guard remaining >= size else { throw .bufferTooShort(needed: size, remaining: remaining) }
        if index < slices.count, slices[index].count - offset >= size {
            let value = try slices[index].load(T.self, at: offset)
            advance(size)
            return value
        }
        return try readBytes(size).reversed().reduce(0) { $0 << 8 | T(truncatingIfNeeded: $1) }
    }

    /// Copies `count` bytes out and moves on.
    public mutating func readBytes(_ count: Int) throws(GuestMemoryError) -> [UInt8] {
        guard count >= 0, count <= remaining else { throw .bufferTooShort(needed: count, remaining: remaining) }
        var result: [UInt8] = []
        result.reserveCapacity(count)
        while result.count < count {
            let part = min(slices[index].count - offset, count - result.count)
            result += try slices[index].bytes(at: offset, count: part)
            advance(part)
        }
        return result
    }

    /// Copies as many bytes out as `bytes` has, and moves on.
    public mutating func read(into bytes: inout [UInt8]) throws(GuestMemoryError) {
        guard bytes.count <= remaining else { throw .bufferTooShort(needed: bytes.count, remaining: remaining) }
        var done = 0
        while done < bytes.count {
            let part = min(slices[index].count - offset, bytes.count - done)
            try slices[index].copy(at: offset, count: part, to: &bytes, at: done)
            done += part
            advance(part)
        }
    }

    /// Stores an integer `distance` bytes behind the cursor, which stays.
    public func write<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at distance: Int) throws(GuestMemoryError) {
        let size = MemoryLayout<T>.size
        guard distance >= 0, distance <= remaining, size <= remaining - distance else {
            throw .bufferTooShort(needed: size, remaining: remaining)
        }
        var place = offset + distance
        var position = index
        for byte in 0..<size {
            while place >= slices[position].count {
                place -= slices[position].count
                position += 1
            }
            if byte == 0, slices[position].count - place >= size { return try slices[position].store(value, at: place) }
            try slices[position].store(UInt8(truncatingIfNeeded: value >> T(8 * byte)), at: place)
            place += 1
        }
    }

    /// Stores an integer and moves on.
    @inlinable
    @inline(__always)
    public mutating func write<T: FixedWidthInteger & BitwiseCopyable>(_ value: T) throws(GuestMemoryError) {
        let size = MemoryLayout<T>.size
        guard remaining >= size else { throw .bufferTooShort(needed: size, remaining: remaining) }
        if index < slices.count, slices[index].count - offset >= size {
            try slices[index].store(value, at: offset)
            advance(size)
            return
        }
        try write((0..<size).map { UInt8(truncatingIfNeeded: value >> T(8 * $0)) })
    }

    /// Stores `bytes` and moves on.
    public mutating func write(_ bytes: some Collection<UInt8>) throws(GuestMemoryError) {
        try write(Array(bytes)[...])
    }

    /// Stores `bytes` and moves on; copies them once only.
    public mutating func write(_ bytes: ArraySlice<UInt8>) throws(GuestMemoryError) {
        guard bytes.count <= remaining else { throw .bufferTooShort(needed: bytes.count, remaining: remaining) }
        var rest = bytes
        while !rest.isEmpty {
            let part = min(slices[index].count - offset, rest.count)
            try slices[index].write(rest.prefix(part), at: offset)
            rest = rest.dropFirst(part)
            advance(part)
        }
    }

    // MARK: Files

    /// Fills at most `count` bytes from `file` at `position` (or from a stream, without one): how many came.
    public mutating func fill(from file: Descriptor, at position: Int64? = nil, count: Int) throws(SystemError) -> Int {
        let moved = unsafe try transfer(count, "read into guest memory") { vectors, number in
            if let position { unsafe preadv(file.raw, vectors, number, Int(position)) } else { unsafe readv(file.raw, vectors, number) }
        }
        advance(moved)
        return moved
    }

    /// As ``fill(from:at:count:)`` of a stream, but the cursor stays: what came is still to be looked after.
    public func peekFill(from file: Descriptor, count: Int) throws(SystemError) -> Int {
        unsafe try transfer(count, "read into guest memory") { vectors, number in unsafe readv(file.raw, vectors, number) }
    }

    /// Sends `head` and then everything to `file` as one message.
    ///
    /// - Throws: `EMSGSIZE` if it is in more pieces than a system call takes; and what `file` answers.
    public mutating func drain(after head: [UInt8], to file: Descriptor) throws(SystemError) {
        guard slices.count - index < Self.maximumVectors else { throw SystemError("write from guest memory", .messageTooLong) }
        let sent = unsafe try transfer("write from guest memory", after: head) { vectors, number in
            unsafe writev(file.raw, vectors, number)
        }
        advance(max(0, sent - head.count))
    }

    /// Sends at most `count` bytes to `file` at `position` (or to a stream, without one): how many went.
    public mutating func drain(to file: Descriptor, at position: Int64? = nil, count: Int) throws(SystemError) -> Int {
        let moved = unsafe try transfer(count, "write from guest memory") { vectors, number in
            if let position { unsafe pwritev(file.raw, vectors, number, Int(position)) } else { unsafe writev(file.raw, vectors, number) }
        }
        advance(moved)
        return moved
    }

    /// Fills at most `count` bytes from the kernel's random generator: how many came.
    public mutating func fillWithRandomBytes(count: Int) throws(SystemError) -> Int {
        var filled = 0
        while filled < count, remaining > 0 {
            let slice = slices[index]
            let part = min(slice.count - offset, count - filled)
            let got = try checkRetrying("getrandom") { unsafe getrandom(slice.base + offset, part, 0) }
            advance(got)
            filled += got
        }
        return filled
    }

    /// Slices handed to one system call (IOV_MAX); a longer transfer comes back short, as files do.
    private static let maximumVectors = 1024

    private func transfer(_ count: Int, _ stage: String, _ call: (UnsafePointer<iovec>, Int32) -> Int) throws(SystemError) -> Int {
        let wanted = min(count, remaining)
        guard wanted > 0 else { return 0 }
        let capacity = min(slices.count - index, Self.maximumVectors)
        let result = unsafe withUnsafeTemporaryAllocation(of: iovec.self, capacity: capacity) { vectors -> Result<Int, SystemError> in
            let used = unsafe list(wanted, in: vectors)
            guard let base = unsafe UnsafePointer(vectors.baseAddress) else { return .success(0) }
            return Result { () throws(SystemError) -> Int in try checkRetrying(stage) { unsafe call(base, Int32(used)) } }
        }
        return try result.get()
    }

    /// The same with bytes of ours before it, and everything.
    private func transfer(
        _ stage: String, after head: [UInt8], _ call: (UnsafePointer<iovec>, Int32) -> Int
    ) throws(SystemError) -> Int {
        let capacity = slices.count - index + 1
        let result = unsafe withUnsafeTemporaryAllocation(of: iovec.self, capacity: capacity) { vectors -> Result<Int, SystemError> in
            unsafe head.withUnsafeBytes { head -> Result<Int, SystemError> in
                // The kernel only reads it.
                unsafe vectors[0] = unsafe iovec(iov_base: UnsafeMutableRawPointer(mutating: head.baseAddress), iov_len: head.count)
                let used = unsafe 1 + list(remaining, in: UnsafeMutableBufferPointer(rebasing: vectors[1...]))
                guard let base = unsafe UnsafePointer(vectors.baseAddress) else { return .success(0) }
                return Result { () throws(SystemError) -> Int in try checkRetrying(stage) { unsafe call(base, Int32(used)) } }
            }
        }
        return try result.get()
    }

    /// Lists the next `wanted` bytes' places, as many as fit: how many.
    private func list(_ wanted: Int, in vectors: UnsafeMutableBufferPointer<iovec>) -> Int {
        var left = wanted
        var used = 0
        var start = offset
        while left > 0, used < vectors.count, index + used < slices.count {
            let slice = slices[index + used]
            let part = min(slice.count - start, left)
            unsafe vectors[used] = unsafe iovec(iov_base: slice.base + start, iov_len: part)
            left -= part
            used += 1
            start = 0
        }
        return used
    }

    @usableFromInline
    mutating func advance(_ count: Int) {
        // Most steps stay inside a slice.
        if index < slices.count, count < slices[index].count - offset {
            remaining -= count
            offset += count
        } else {
            advanceOverSlices(count)
        }
    }

    @usableFromInline
    mutating func advanceOverSlices(_ count: Int) {
        remaining -= count
        var left = count
        while left > 0 {
            let part = min(slices[index].count - offset, left)
            offset += part
            left -= part
            if offset == slices[index].count {
                index += 1
                offset = 0
            }
        }
        // Empty slices are legal in a chain; never leave the cursor in one.
        while index < slices.count, slices[index].count == 0 { index += 1 }
    }
}
