/// One message on a ttrpc connection: ten bytes of header (big endian) and a payload.
///
/// `length: u32 | stream: u32 | type: u8 | flags: u8`, as containerd/ttrpc's `PROTOCOL.md` has it.
public struct Frame: Equatable, Sendable {
    public static let headerSize = 10
    /// Largest payload, 4 MiB (`messageLengthMax`).
    public static let maximumPayload = 4 << 20

    /// What a frame is. Others than these are skipped, as ttrpc asks.
    public enum Kind: UInt8, Sendable {
        case request = 1
        case response = 2
        /// Streams of ttrpc 1.2, which nothing here uses.
        case data = 3
    }

    /// Chosen by the client: odd and growing.
    public var stream: UInt32
    /// ``Kind``, or a type this version does not know.
    public var type: UInt8
    public var flags: UInt8
    public var payload: [UInt8]

    public var kind: Kind? { Kind(rawValue: type) }

    public init(stream: UInt32, kind: Kind, flags: UInt8 = 0, payload: [UInt8]) {
        self.init(stream: stream, type: kind.rawValue, flags: flags, payload: payload)
    }

    init(stream: UInt32, type: UInt8, flags: UInt8, payload: [UInt8]) {
        self.stream = stream
        self.type = type
        self.flags = flags
        self.payload = payload
    }

    /// The bytes for the wire.
    public var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.headerSize + payload.count)
        for value in [UInt32(truncatingIfNeeded: payload.count), stream] {
            for shift in [24, 16, 8, 0] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
        }
        bytes += [type, flags]
        bytes += payload
        return bytes
    }
}
