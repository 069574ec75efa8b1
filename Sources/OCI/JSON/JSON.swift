/// JSON (RFC 8259) for configuration files: every value remembers where in the file it stood, so that
/// each error can name a line and a field, and objects keep their order, so that what is written reads
/// like what was meant.
///
/// Own code rather than Foundation's because its errors name neither, and because this is on the path
/// of every container's start inside the guest, where each page of code first touched is paid for.
public enum JSON {
    /// Objects and arrays inside each other; a bound on the reader's stack.
    public static let maximumDepth = 64

    /// A value and its place in the text.
    public struct Value: Sendable, Equatable {
        public var content: Content
        /// Where it began; `nil` for a value that was not read from text.
        public var position: Position?

        public init(_ content: Content, at position: Position? = nil) {
            self.content = content
            self.position = position
        }

        /// Positions do not count.
        public static func == (a: Value, b: Value) -> Bool { a.content == b.content }
    }

    public indirect enum Content: Sendable, Equatable {
        case null
        case bool(Bool)
        /// As written: what it converts to depends on the field.
        case number(String)
        case string(String)
        case array([Value])
        case object(Object)
    }

    /// Line and column, both from 1; a column is a byte.
    public struct Position: Sendable, Equatable {
        public let line: Int
        public let column: Int

        public init(line: Int, column: Int) {
            self.line = line
            self.column = column
        }
    }

    /// Members in the order they were written.
    public struct Object: Sendable, Equatable {
        public private(set) var members: [Member] = []
        /// Positions by key, kept once there are many members.
        private var index: [String: Int] = [:]

        public struct Member: Sendable, Equatable {
            public let key: String
            public var value: Value
        }

        public init() {}

        public subscript(key: String) -> Value? { place(of: key).map { members[$0].value } }

        /// Adds a member: false, and nothing done, when the key is there already.
        public mutating func append(_ key: String, _ value: Value) -> Bool {
            guard place(of: key) == nil else { return false }
            members.append(Member(key: key, value: value))
            if members.count == Self.indexedFrom {
                for (place, member) in members.enumerated() { index[member.key] = place }
            } else if members.count > Self.indexedFrom {
                index[key] = members.count - 1
            }
            return true
        }

        mutating func sort() {
            let sorted = members.sorted { $0.key < $1.key }
            self = Object()
            for member in sorted { _ = append(member.key, member.value) }
        }

        /// A scan beats hashing in the small objects config.json is made of.
        private static let indexedFrom = 16

        private func place(of key: String) -> Int? {
            members.count < Self.indexedFrom ? members.firstIndex { $0.key == key } : index[key]
        }

        public static func == (a: Object, b: Object) -> Bool { a.members == b.members }
    }

    /// What is wrong with a text or with a value in it.
    public struct Error: Swift.Error, Sendable, Equatable, CustomStringConvertible {
        public let position: Position?
        /// The field, `process.rlimits[0].hard`; empty when the text is no JSON or the whole is meant.
        public let field: String
        public let message: String

        public init(at position: Position?, field: String = "", _ message: String) {
            self.position = position
            self.field = field
            self.message = message
        }

        /// `line 3, column 7: process.cwd: want string, is number`
        public var description: String {
            let place = position.map { "line \($0.line), column \($0.column): " } ?? ""
            return place + (field.isEmpty ? "" : "\(field): ") + message
        }
    }
}

extension JSON.Value {
    /// The word used in errors: `object`, `string`, …
    public var kind: String {
        switch content {
        case .null: "null"
        case .bool: "boolean"
        case .number: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }
}
