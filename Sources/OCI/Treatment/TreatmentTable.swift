/// The rows of ``treatmentRows`` as a tree of path steps, so that a spec's fields find theirs in one step each.
enum TreatmentTable {
    struct Row: Sendable {
        let pattern: FieldPattern
        let treatment: Treatment
        let note: String

        init(_ pattern: String, _ treatment: Treatment, _ note: String = "") {
            self.pattern = FieldPattern(pattern)
            self.treatment = treatment
            self.note = note
        }
    }

    struct Node: Sendable {
        private var rows: [Row] = []
        private var children: [String: Node] = [:]

        var isLeaf: Bool { children.isEmpty }

        func child(_ step: String) -> Node? { children[step] ?? (step == "[]" ? nil : children["*"]) }

        /// The row whose conditions hold, the one with the most first.
        func row(for values: [JSON.Value]) -> Row? {
            rows.filter { $0.pattern.holds(for: values) }.max { $0.pattern.conditions.count < $1.pattern.conditions.count }
        }

        mutating func insert(_ row: Row, _ steps: ArraySlice<String>) {
            guard let step = steps.first else { return rows.append(row) }
            children[step, default: Node()].insert(row, steps.dropFirst())
        }
    }

    static let root: Node = {
        var root = Node()
        for row in treatmentRows { root.insert(row, row.pattern.steps[...]) }
        return root
    }()
}
