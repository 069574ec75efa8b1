/// A string of the runtime-spec with a closed set of values. "Runtimes MUST generate an error when
/// invalid or unsupported values are encountered" (config.md, Valid values): another value does not decode.
public protocol Keyword: RawRepresentable, CaseIterable, Codable, Sendable, Equatable where RawValue == String {}

extension Keyword {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let value = Self(rawValue: text) else {
            let known = Self.allCases.map(\.rawValue).joined(separator: ", ")
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "unknown value \"\(text)\"; known: \(known)")
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}
