/// A message with its length in two bytes before it, as DNS has it on streams (RFC 1035, 4.2.2).
public enum PrefixedMessage {
    public static let limit = Int(UInt16.max)

    /// - Returns: nil for one that is too long.
    static func framed(_ message: [UInt8]) -> [UInt8]? {
        guard message.count <= limit else { return nil }
        return [UInt8(message.count >> 8), UInt8(message.count & 0xff)] + message
    }

    /// Takes the first whole message off bytes that arrive in pieces.
    static func take(from bytes: inout [UInt8]) -> [UInt8]? {
        guard bytes.count >= 2 else { return nil }
        let end = 2 + (Int(bytes[0]) << 8 | Int(bytes[1]))
        guard bytes.count >= end else { return nil }
        defer { bytes.removeFirst(end) }
        return Array(bytes[2..<end])
    }
}
