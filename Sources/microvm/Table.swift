import Linux

/// Columns of text, as wide as they need to be.
struct Table {
    private var rows: [[String]]
    private let limits: [Int?]
    private static let gap = "  "

    /// - Parameters:
    ///   - header: column names; empty: none are printed.
    ///   - limits: most characters shown of each column.
    init(_ header: [String] = [], limits: [Int?] = []) {
        rows = header.isEmpty ? [] : [header]
        self.limits = limits
    }

    mutating func add(_ row: [String]) {
        rows.append(row.enumerated().map { index, text in shortened(text, index < limits.count ? limits[index] : nil) })
    }

    var text: String {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
        return rows.map { row in
            let cells = row.enumerated().map { index, cell in
                index == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[index] - cell.count)
            }
            var line = cells.joined(separator: Self.gap)
            while line.hasSuffix(" ") { line.removeLast() }
            return line + "\n"
        }.joined()
    }
}

private func shortened(_ text: String, _ limit: Int?) -> String {
    guard let limit, text.count > limit else { return text }
    return text.prefix(limit - 1) + "…"
}

/// Standard output, unbuffered. A reader that has gone is no error.
func printOut(_ text: String) throws {
    do throws(SystemError) { try Descriptor.standardOutput.writeAll(text) } catch where error.errno == .brokenPipe {}
}
