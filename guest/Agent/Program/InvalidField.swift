/// A field of a spec with a value that cannot be had.
struct InvalidField: Error, Equatable, CustomStringConvertible {
    let field: String
    let reason: String

    init(_ field: String, _ reason: String) {
        self.field = field
        self.reason = reason
    }

    var description: String { "\(field): \(reason)" }
}
