extension JSON {
    public enum Layout: Sendable {
        /// One line.
        case compact
        /// One member a line, indented by tabs, as runc writes its files.
        case pretty
    }

    /// The text of a value.
    public static func write(_ value: Value, _ layout: Layout = .compact) -> String {
        var writer = Writer(layout: layout)
        writer.write(value.content, depth: 0)
        return writer.text
    }
}

private struct Writer {
    let layout: JSON.Layout
    var text = ""

    mutating func write(_ content: JSON.Content, depth: Int) {
        switch content {
        case .null: text += "null"
        case .bool(let bool): text += bool ? "true" : "false"
        case .number(let number): text += number
        case .string(let string): write(string)
        case .array(let elements):
            list("[", "]", elements, depth) { writer, element in writer.write(element.content, depth: depth + 1) }
        case .object(let object):
            list("{", "}", object.members, depth) { writer, member in
                writer.write(member.key)
                writer.text += writer.layout == .pretty ? ": " : ":"
                writer.write(member.value.content, depth: depth + 1)
            }
        }
    }

    private mutating func list<Item>(
        _ open: String, _ close: String, _ items: [Item], _ depth: Int, _ write: (inout Writer, Item) -> Void
    ) {
        text += open
        for (index, item) in items.enumerated() {
            if index > 0 { text += "," }
            newLine(depth + 1)
            write(&self, item)
        }
        if !items.isEmpty { newLine(depth) }
        text += close
    }

    private mutating func newLine(_ depth: Int) {
        if layout == .pretty { text += "\n" + String(repeating: "\t", count: depth) }
    }

    private mutating func write(_ string: String) {
        text += "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\u{0}"..<" ":
                let hex = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
