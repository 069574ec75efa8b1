import Linux

/// A host process that has connected and is about to say which guest port it wants: `CONNECT <port>\n`,
/// Firecracker's wire text.
final class VsockHandshake {
    /// Longest line, with its end: `CONNECT 4294967295\n` is 19 bytes.
    private static let lineLimit = 32

    enum Progress {
        case waiting
        case port(UInt32)
        /// Not the line that was expected, or the end of the stream.
        case failed
    }

    let socket: Descriptor
    let deadline: UInt64
    private var line: [UInt8] = []

    init(_ socket: Descriptor, deadline: UInt64) {
        self.socket = socket
        self.deadline = deadline
    }

    /// Reads up to the end of the line and no byte further: the rest belongs to the stream.
    func advance() -> Progress {
        do {
            let seen = try socket.peek(upTo: Self.lineLimit - line.count)
            guard !seen.isEmpty else { return .failed }
            let end = seen.firstIndex(of: UInt8(ascii: "\n"))
            line += try socket.read(upTo: end.map { $0 + 1 } ?? seen.count)
            guard end != nil else { return line.count < Self.lineLimit ? .waiting : .failed }
        } catch {
            return error.errno == .wouldBlock ? .waiting : .failed
        }
        return Self.port(line.dropLast()).map { .port($0) } ?? .failed
    }

    static func port(_ line: some Collection<UInt8>) -> UInt32? {
        let words = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard words.count == 2, words[0].elementsEqual("CONNECT".utf8), words[1].allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return UInt32(String(decoding: words[1], as: UTF8.self))
    }
}
