/// The name of a value inside a document, as errors and tables print it: `linux.namespaces[1].path`.
public struct FieldPath: Sendable, Equatable, CustomStringConvertible {
    public enum Step: Sendable, Equatable {
        case key(String)
        case index(Int)
    }

    public var steps: [Step]

    public init(_ steps: [Step] = []) {
        self.steps = steps
    }

    public init(_ codingPath: [any CodingKey]) {
        steps = codingPath.map { key in key.intValue.map(Step.index) ?? .key(key.stringValue) }
    }

    public static func + (path: FieldPath, step: Step) -> FieldPath { FieldPath(path.steps + [step]) }

    public var description: String {
        var text = ""
        for step in steps {
            switch step {
            case .index(let index): text += "[\(index)]"
            case .key(let key) where Self.isPlain(key): text += text.isEmpty ? key : ".\(key)"
            // A sysctl's or an annotation's name has dots of its own.
            case .key(let key): text += "[\"\(key)\"]"
            }
        }
        return text
    }

    private static func isPlain(_ key: String) -> Bool {
        !key.isEmpty && key.utf8.allSatisfy { $0 == 0x5F || $0 == 0x2D || ($0 < 0x80 && Character(Unicode.Scalar($0)).isLetterOrDigit) }
    }
}

extension Character {
    fileprivate var isLetterOrDigit: Bool { isLetter || isNumber }
}

extension JSON.Value {
    /// The value at `path`, or the deepest one on the way there.
    func nearest(_ path: FieldPath) -> JSON.Value {
        var value = self
        for step in path.steps {
            switch (step, value.content) {
            case (.key(let key), .object(let object)):
                guard let next = object[key] else { return value }
                value = next
            case (.index(let index), .array(let elements)) where elements.indices.contains(index):
                value = elements[index]
            default:
                return value
            }
        }
        return value
    }
}
