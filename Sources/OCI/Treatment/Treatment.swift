/// What happens to a field of a spec when the container runs in a virtual machine.
public enum Treatment: String, Sendable, CaseIterable, Encodable {
    /// Honoured, in the guest.
    case guest
    /// Honoured, on the host.
    case host
    /// Taken, but with less effect than with a container on the host: the note says why.
    case weakened
    /// Not possible: the container is not started, and the note says why.
    case refused
    /// No meaning on Linux, or to anybody: the specification demands that it be ignored.
    case ignored

    public var isHonoured: Bool { self == .guest || self == .host }
}

/// A field of one spec, and what happens to it.
public struct Finding: Sendable, Equatable, Encodable {
    /// `linux.namespaces[1].path`
    public let field: String
    /// As in config.json, on one line, without secrets and not too long.
    public let value: String
    public let treatment: Treatment
    /// How or why; empty when there is nothing to add.
    public let note: String
}

extension Spec {
    /// What happens to each field that is set, in the order of the specification's types.
    ///
    /// A field that is empty, or zero among the resources, asks for nothing and is not listed.
    public func treatments() -> [Finding] {
        guard let tree = try? JSON.value(of: redacted()) else { return [] }
        return OCI.treatments(of: tree)
    }

    /// ``treatments()`` with what validation has to say about the values, and what was written that the
    /// types have no field for: all of a bundle's config.json.
    public func explanation(of document: JSON.Value) -> [Finding] {
        var findings = treatments()
        let count = findings.count
        for problem in ruleProblems() {
            let treatment = problem.severity == .error ? Treatment.refused : .weakened
            if let index = findings[..<count].firstIndex(where: { $0.field == problem.field }) {
                let value = findings[index].value
                findings[index] = Finding(field: problem.field, value: value, treatment: treatment, note: problem.message)
            } else {
                findings.append(Finding(field: problem.field, value: "", treatment: treatment, note: problem.message))
            }
        }
        return findings + unknownFields(in: document)
    }

    /// Members of the file which ``Spec`` has no field for.
    public func unknownFields(in document: JSON.Value) -> [Finding] {
        guard let tree = try? JSON.value(of: self) else { return [] }
        var findings: [Finding] = []
        collectUnknown(document, tree, FieldPath(), &findings)
        return findings
    }
}

/// What happens to each field of a spec's tree.
func treatments(of tree: JSON.Value) -> [Finding] {
    var walk = TreatmentWalk()
    walk.visit(tree, at: FieldPath(), TreatmentTable.root, covered: false)
    return walk.findings
}

/// Goes through a spec's tree and down the table beside it.
private struct TreatmentWalk {
    var findings: [Finding] = []
    /// From the document to the value being visited.
    private var values: [JSON.Value] = []

    /// - Parameters:
    ///   - table: the rows about this value and below; nil when there are none.
    ///   - covered: a row for an ancestor speaks for this value too.
    mutating func visit(_ value: JSON.Value, at path: FieldPath, _ table: TreatmentTable.Node?, covered: Bool) {
        if value.asksForNothing(at: path) { return }
        values.append(value)
        defer { values.removeLast() }
        let row = table?.row(for: values)
        if let row { add(path, value, row.treatment, row.note) }
        let covered = covered || row != nil
        if covered && (table?.isLeaf ?? true) { return }
        switch value.content {
        case .object(let object):
            for member in object.members { visit(member.value, at: path + .key(member.key), table?.child(member.key), covered: covered) }
        case .array(let elements):
            for (index, element) in elements.enumerated() { visit(element, at: path + .index(index), table?.child("[]"), covered: covered) }
        default:
            if !covered { add(path, value, .refused, "this version does not know the field") }
        }
    }

    private mutating func add(_ path: FieldPath, _ value: JSON.Value, _ treatment: Treatment, _ note: String) {
        findings.append(Finding(field: path.description, value: value.summary(), treatment: treatment, note: note))
    }
}

private func collectUnknown(_ written: JSON.Value, _ known: JSON.Value, _ path: FieldPath, _ findings: inout [Finding]) {
    switch (written.content, known.content) {
    case (.object(let written), .object(let known)):
        for member in written.members where !member.value.isEmpty {
            let path = path + .key(member.key)
            if let counterpart = known[member.key] ?? (member.key == "hwconfig" ? known["hwConfig"] : nil) {
                collectUnknown(member.value, counterpart, path, &findings)
            } else {
                let note = otherPlatforms.contains(path.description) ? "for another platform" : "unknown property"
                findings.append(Finding(field: path.description, value: member.value.summary(), treatment: .ignored, note: note))
            }
        }
    case (.array(let written), .array(let known)):
        for (index, (written, known)) in zip(written, known).enumerated() {
            collectUnknown(written, known, path + .index(index), &findings)
        }
    default: break
    }
}

private let otherPlatforms: Set = ["solaris", "windows", "zos", "freebsd", "process.commandLine", "process.user.username"]

extension JSON.Value {
    /// Null, false and what has no elements: the same as left out (Go's `omitempty`). Zero and `""` too.
    var isEmpty: Bool {
        switch content {
        case .null, .bool(false): true
        case .string(let text): text.isEmpty
        case .number(let text): text == "0"
        case .array(let elements): elements.isEmpty
        case .object(let object): object.members.allSatisfy(\.value.isEmpty)
        case .bool(true): false
        }
    }

    /// Engines send every resource they know with a zero for "not set", or -1 for "no limit".
    fileprivate func asksForNothing(at path: FieldPath) -> Bool {
        switch content {
        case .object(let object): object.members.isEmpty
        case .number(let text): (text == "0" || text == "-1") && path.description.hasPrefix("linux.resources.") && !path.isDevice
        case .bool(false): path.description.hasPrefix("linux.resources.memory.")
        default: false
        }
    }

    fileprivate func summary(limit: Int = 60) -> String {
        let text =
            switch content {
            case .string(let text) where text.utf8.allSatisfy({ $0 >= 0x20 }): text
            default: JSON.write(self)
            }
        return text.count <= limit ? text : text.prefix(limit - 1) + "…"
    }
}

extension FieldPath {
    fileprivate var isDevice: Bool { description.hasPrefix("linux.resources.devices") }
}
