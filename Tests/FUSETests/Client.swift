import FUSE
import Glibc
import GuestMemory
import Linux
import Synchronization

/// A FUSE client without a kernel: it puts requests into guest memory and reads the answers there. The
/// server works on a thread of its own, as it does in a device.
final class Client {
    struct Failure: Error, Equatable, CustomStringConvertible {
        let errno: Errno
        var description: String { "\(errno)" }
    }

    static let root: UInt64 = 1

    let shares: ShareTable
    let server: FileServer
    private let memory: GuestMemory
    private let served: Served
    private var unique: UInt64 = 0
    /// Sent as the caller.
    var user: UInt32 = 0
    var group: UInt32 = 0

    private final class Served: Sendable {
        let wake: EventDescriptor
        let done: EventDescriptor
        let job = Mutex<(source: GuestBuffer, target: GuestBuffer)?>(nil)
        let result = Atomic<UInt32>(0)
        let thread = Mutex<Thread?>(nil)

        init(_ server: FileServer) throws {
            wake = try EventDescriptor(nonBlocking: false)
            done = try EventDescriptor(nonBlocking: false)
            let started = try Thread("test-fuse") { [self] in
                let worker = try? server.makeWorker()
                while true {
                    wake.drain()
                    guard let job = job.withLock({ $0 }) else { return }
                    result.store(worker?.handle(job.source, job.target) ?? 0, ordering: .releasing)
                    done.signal()
                }
            }
            thread.withLock { $0 = started }
        }

        func handle(_ source: GuestBuffer, _ target: GuestBuffer) -> Int {
            job.withLock { $0 = (source, target) }
            wake.signal()
            done.drain()
            return Int(result.load(ordering: .acquiring))
        }

        func stop() {
            job.withLock { $0 = nil }
            wake.signal()
            thread.withLock { $0?.join() }
        }
    }

    /// - Parameter initialize: whether FUSE_INIT has been agreed on already.
    init(limits: ShareLimits = ShareLimits(), descriptors: Int? = nil, readahead: UInt32 = .max, window: MappingWindow? = nil, initialize: Bool = true) throws {
        shares = ShareTable(limits: limits, descriptors: descriptors, window: window)
        server = try FileServer(shares: shares, maximumReadahead: readahead)
        memory = try GuestMemory.allocate([(0, 4 << 20)]).memory
        served = try Served(server)
        if initialize { _ = try self.initialize() }
    }

    deinit { served.stop() }

    // MARK: Exchanging bytes

    /// Sends exactly `bytes`, offers `room` bytes, returns what was written there. Both are cut into pieces
    /// of at most `piece` bytes.
    func exchange(_ bytes: [UInt8], room: Int, piece: Int = .max) throws -> [UInt8] {
        let answer: UInt64 = 2 << 20
        try memory.slice(0, UInt64(bytes.count)).write(bytes)
        let count = served.handle(try buffer(0, bytes.count, piece), try buffer(answer, room, piece))
        guard count <= room else { throw SystemError("answer of \(count) bytes in \(room)", .ioError) }
        return try memory.slice(answer, UInt64(count)).bytes(count: count)
    }

    private func buffer(_ start: UInt64, _ count: Int, _ piece: Int) throws -> GuestBuffer {
        GuestBuffer(
            try stride(from: 0, to: count, by: max(1, min(piece, count))).map {
                try memory.slice(start + UInt64($0), UInt64(min(piece, count - $0)))
            })
    }

    /// A whole request.
    func message(_ opcode: Opcode, _ node: UInt64, _ body: [UInt8] = []) -> [UInt8] {
        unique += 1
        var header = Bytes()
        header.add(UInt32(40 + body.count))
        header.add(opcode.rawValue)
        header.add(unique)
        header.add(node)
        header.add(user)
        header.add(group)
        header.add(UInt64(1))
        return header.bytes + body
    }

    /// One request: the body of its answer, or the error.
    @discardableResult
    func call(_ opcode: Opcode, _ node: UInt64, _ body: [UInt8] = [], room: Int = 8192) throws -> [UInt8] {
        let answer = try exchange(message(opcode, node, body), room: 16 + room)
        var reader = Reader(answer)
        guard try reader.u32() == UInt32(answer.count) else { throw SystemError("length of the answer", .ioError) }
        let error = Int32(bitPattern: try reader.u32())
        guard try reader.u64() == unique else { throw SystemError("number of the answer", .ioError) }
        if error != 0 { throw Failure(errno: Errno(rawValue: -error)) }
        return Array(answer.dropFirst(16))
    }
}

/// Bytes being put together, little-endian.
struct Bytes {
    var bytes: [UInt8] = []

    init(_ parts: any Part...) { for part in parts { part.append(to: &bytes) } }

    mutating func add(_ part: any Part) { part.append(to: &bytes) }

    protocol Part { func append(to bytes: inout [UInt8]) }
}

extension FixedWidthInteger {
    func append(to bytes: inout [UInt8]) { for shift in stride(from: 0, to: bitWidth, by: 8) { bytes.append(UInt8(truncatingIfNeeded: self >> shift)) } }
}

extension UInt8: Bytes.Part {}
extension UInt16: Bytes.Part {}
extension UInt32: Bytes.Part {}
extension UInt64: Bytes.Part {}
extension Int32: Bytes.Part {}
extension Int64: Bytes.Part {}

/// A name, ended by a NUL.
extension String: Bytes.Part {
    func append(to bytes: inout [UInt8]) { bytes += Array(utf8) + [0] }
}

/// As it is.
extension Array: Bytes.Part where Element == UInt8 {
    func append(to bytes: inout [UInt8]) { bytes += self }
}

/// Bytes being taken apart.
struct Reader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    var remaining: Int { rest.count }

    mutating func take(_ count: Int) throws -> [UInt8] {
        guard rest.count >= count else { throw SystemError("answer too short", .ioError) }
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    mutating func u16() throws -> UInt16 { UInt16(truncatingIfNeeded: try number(2)) }
    mutating func u32() throws -> UInt32 { UInt32(truncatingIfNeeded: try number(4)) }
    mutating func u64() throws -> UInt64 { try number(8) }

    private mutating func number(_ count: Int) throws -> UInt64 { try take(count).reversed().reduce(0) { $0 << 8 | UInt64($1) } }
}
