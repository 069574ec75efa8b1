/// Cuts a byte stream into frames. Holds at most one frame beside what was just fed.
public struct FrameDecoder: Sendable {
    public enum Event: Equatable, Sendable {
        case frame(Frame)
        /// A frame over the limit; its payload is skipped, not kept.
        case oversize(stream: UInt32, type: UInt8, length: Int)
    }

    private let limit: Int
    private var buffer: [UInt8] = []
    private var consumed = 0
    private var skipping = 0

    /// `limit`: largest payload to accept, in bytes.
    public init(limit: Int = Frame.maximumPayload) {
        self.limit = min(limit, Frame.maximumPayload)
    }

    public mutating func feed(_ bytes: some Collection<UInt8>) {
        buffer.removeFirst(consumed)
        consumed = 0
        buffer += bytes.dropFirst(skip(bytes.count))
    }

    /// The next complete frame, nil when more bytes are needed.
    public mutating func next() -> Event? {
        let rest = buffer.dropFirst(consumed)
        guard rest.count >= Frame.headerSize else { return nil }
        let header = Array(rest.prefix(Frame.headerSize))
        let length = Int(bigEndian(header[0..<4]))
        let stream = bigEndian(header[4..<8])
        if length > limit {
            consumed += Frame.headerSize
            skipping = length
            consumed += skip(buffer.count - consumed)
            return .oversize(stream: stream, type: header[8], length: length)
        }
        guard rest.count - Frame.headerSize >= length else { return nil }
        consumed += Frame.headerSize + length
        let payload = Array(rest.dropFirst(Frame.headerSize).prefix(length))
        return .frame(Frame(stream: stream, type: header[8], flags: header[9], payload: payload))
    }

    /// How many of `available` bytes belong to the payload being skipped.
    private mutating func skip(_ available: Int) -> Int {
        let count = min(skipping, available)
        skipping -= count
        return count
    }
}

private func bigEndian(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    bytes.reduce(0) { $0 << 8 | UInt32($1) }
}
