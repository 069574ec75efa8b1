/// Which fields a row of the table is about:
///
/// - `linux.namespaces[]`: every element of an array, `linux.sysctl.*`: every member of a map;
/// - `linux.namespaces[type=network]`: the elements with that member, also on the way to a deeper field;
/// - `process.scheduler.policy=SCHED_ISO`: only with that value.
///
/// A `*` at either end of a value stands for anything.
struct FieldPattern: Sendable {
    struct Condition: Sendable {
        /// How many steps lead to the value it is about.
        let depth: Int
        /// The member of that value; nil: the value itself.
        let member: String?
        let glob: String
    }

    /// Keys, `*` and `[]`.
    private(set) var steps: [String] = []
    private(set) var conditions: [Condition] = []

    init(_ text: String) {
        // An `=` outside brackets begins the value.
        if let equals = text.lastIndex(of: "="), !text[equals...].contains("]") {
            addSteps(text[..<equals])
            conditions.append(Condition(depth: steps.count, member: nil, glob: String(text[text.index(after: equals)...])))
        } else {
            addSteps(text[...])
        }
    }

    private mutating func addSteps(_ text: Substring) {
        for part in text.split(separator: ".") {
            let name = part.prefix { $0 != "[" }
            steps.append(String(name))
            guard name.count < part.count else { continue }
            steps.append("[]")
            let condition = part.dropFirst(name.count + 1).dropLast().split(separator: "=", maxSplits: 1).map(String.init)
            if condition.count == 2 { conditions.append(Condition(depth: steps.count, member: condition[0], glob: condition[1])) }
        }
    }

    /// Whether all conditions hold.
    ///
    /// - Parameter values: those along the path, the document first and the field itself last.
    func holds(for values: [JSON.Value]) -> Bool {
        conditions.allSatisfy { condition in
            guard values.indices.contains(condition.depth) else { return false }
            let value = values[condition.depth]
            guard let member = condition.member else { return Self.matches(condition.glob, value.text) }
            guard case .object(let object) = value.content, let held = object[member] else { return false }
            return Self.matches(condition.glob, held.text)
        }
    }

    static func matches(_ glob: String, _ text: String) -> Bool {
        switch (glob.hasPrefix("*"), glob.hasSuffix("*")) {
        case (true, true): text.contains(glob.dropFirst().dropLast())
        case (false, true): text.hasPrefix(glob.dropLast())
        case (true, false): text.hasSuffix(glob.dropFirst())
        case (false, false): text == glob
        }
    }
}

extension JSON.Value {
    fileprivate var text: String {
        switch content {
        case .string(let text), .number(let text): text
        case .bool(let bool): "\(bool)"
        default: ""
        }
    }
}
