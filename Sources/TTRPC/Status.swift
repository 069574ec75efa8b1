/// Why a call failed: a code both sides know and a line for a person.
public struct Status: Error, Equatable, Sendable, CustomStringConvertible {
    /// The codes of google.rpc.
    public enum Code: Int32, Sendable {
        case cancelled = 1
        case unknown = 2
        case invalidArgument = 3
        case deadlineExceeded = 4
        case notFound = 5
        case alreadyExists = 6
        case permissionDenied = 7
        case resourceExhausted = 8
        case failedPrecondition = 9
        case aborted = 10
        case outOfRange = 11
        case unimplemented = 12
        case `internal` = 13
        case unavailable = 14
        case dataLoss = 15
        case unauthenticated = 16
    }

    /// Longest message kept of a peer's status, in bytes: it ends up in a log line.
    static let maximumMessage = 4096

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// A peer's status: a code out of range is ``Code/unknown``, the text is cut and freed of control characters.
    init(_ envelope: EnvelopeStatus) {
        code = Code(rawValue: envelope.code) ?? .unknown
        let printable = envelope.message.prefix(Self.maximumMessage).unicodeScalars.map { scalar -> Character in
            scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) ? " " : Character(scalar)
        }
        message = String(printable)
    }

    var envelope: EnvelopeStatus {
        .with {
            $0.code = code.rawValue
            $0.message = message
        }
    }

    public var description: String { message.isEmpty ? "\(code)" : message }
}
