/// A field that is left out of the JSON when it is empty, and is empty when it is left out or `null`:
/// the meaning Go's `omitempty` gives to the runtime-spec's optional fields.
@propertyWrapper
public struct OmitEmpty<Value: Emptiable>: Equatable {
    public var wrappedValue: Value

    public init(wrappedValue: Value) {
        self.wrappedValue = wrappedValue
    }

    public init() {
        wrappedValue = .empty
    }
}

/// A type with a value that means "not there".
public protocol Emptiable: Codable, Equatable {
    static var empty: Self { get }
}

extension Bool: Emptiable {
    public static var empty: Bool { false }
}

extension String: Emptiable {
    public static var empty: String { "" }
}

extension Array: Emptiable where Element: Codable & Equatable {
    public static var empty: [Element] { [] }
}

extension Dictionary: Emptiable where Key == String, Value: Codable & Equatable {
    public static var empty: [String: Value] { [:] }
}

extension OmitEmpty: Sendable where Value: Sendable {}

extension OmitEmpty: Codable {
    public init(from decoder: any Decoder) throws {
        wrappedValue = try decoder.singleValueContainer().decode(Value.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(wrappedValue)
    }
}

// Synthesised Codable conformances in this module find these overloads instead of the generic ones.
extension KeyedDecodingContainer {
    func decode<Value>(_ type: OmitEmpty<Value>.Type, forKey key: Key) throws -> OmitEmpty<Value> {
        OmitEmpty(wrappedValue: try decodeIfPresent(Value.self, forKey: key) ?? .empty)
    }
}

extension KeyedEncodingContainer {
    mutating func encode<Value>(_ field: OmitEmpty<Value>, forKey key: Key) throws {
        if field.wrappedValue != .empty { try encode(field.wrappedValue, forKey: key) }
    }
}
