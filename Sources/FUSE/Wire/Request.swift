import Glibc
import GuestMemory
import Linux

/// A request being read: its header, and a cursor over the rest that cannot pass the length it claims.
struct Request {
    /// struct fuse_in_header.
    static let headerSize = 40

    let opcode: UInt32
    let unique: UInt64
    let node: NodeID
    let user: UInt32
    let group: UInt32
    private var buffer: GuestBuffer
    /// Bytes left.
    private(set) var remaining: Int

    /// Nil when not even a header is there, or it claims more than was sent.
    init?(_ source: GuestBuffer) {
        buffer = source
        do {
            let length: UInt32 = try buffer.read()
            guard Int(length) >= Self.headerSize, Int(length) <= source.remaining else { return nil }
            opcode = try buffer.read()
            unique = try buffer.read()
            node = NodeID(rawValue: try buffer.read())
            user = try buffer.read()
            group = try buffer.read()
            // The process id, the length of extensions (none were negotiated) and padding.
            try buffer.skip(8)
            remaining = Int(length) - Self.headerSize
        } catch { return nil }
    }

    mutating func read<Value: FixedWidthInteger & BitwiseCopyable>(_ type: Value.Type = Value.self) throws(SystemError) -> Value {
        try claim(MemoryLayout<Value>.size)
        do { return try buffer.read() } catch { throw Self.tooShort }
    }

    mutating func skip(_ count: Int) throws(SystemError) {
        try claim(count)
        do { try buffer.skip(count) } catch { throw Self.tooShort }
    }

    mutating func bytes(_ count: Int) throws(SystemError) -> [UInt8] {
        try claim(count)
        do { return try buffer.readBytes(count) } catch { throw Self.tooShort }
    }

    /// An offset or length of a file: anything above what `off_t` holds is refused.
    mutating func offset() throws(SystemError) -> Int64 {
        guard let offset = Int64(exactly: try read(UInt64.self)) else { throw SystemError("offset", .invalidArgument) }
        return offset
    }

    /// The next string, without the NUL that must end it within `limit` bytes.
    mutating func string(limit: Int = Int(PATH_MAX)) throws(SystemError) -> [UInt8] {
        var rest = buffer
        var bytes: [UInt8]
        do { bytes = try rest.readBytes(min(remaining, limit)) } catch { throw Self.tooShort }
        guard let end = bytes.firstIndex(of: 0) else {
            throw remaining > limit ? SystemError("string", .fileNameTooLong) : SystemError("string without an end", .invalidArgument)
        }
        try skip(end + 1)
        bytes.removeLast(bytes.count - end)
        return bytes
    }

    /// The next string as the name of a directory's entry.
    mutating func name() throws(SystemError) -> FileName {
        let bytes = try string()
        guard bytes.count <= 255 else { throw SystemError("name", .fileNameTooLong) }
        guard let name = FileName(bytes) else { throw SystemError("not a name", .invalidArgument) }
        return name
    }

    /// The data of a WRITE.
    mutating func drain(_ count: Int, to file: Descriptor, at position: Int64) throws(SystemError) -> Int {
        try claim(count)
        return try buffer.drain(to: file, at: position, count: count)
    }

    private mutating func claim(_ count: Int) throws(SystemError) {
        guard count >= 0, count <= remaining else { throw Self.tooShort }
        remaining -= count
    }

    private static let tooShort = SystemError("request is too short", .invalidArgument)
}
