/// A settings file: tables of keys with whole numbers, which of TOML (toml.io) is all that ``Settings`` needs. A library for the
/// rest of it brings Foundation along: with TOMLKit 0.6.0 this program was three times its size.
///
/// What is not understood is refused with its line.
struct SettingsFile {
    struct Entry: Equatable {
        let table: String
        let key: String
        let value: Int
        /// From 1 on.
        let line: Int
    }

    private(set) var entries: [Entry] = []

    /// - Parameter name: for errors.
    init(_ text: String, name: String) throws(Failure) {
        var table = ""
        var tables: Set<String> = []
        // A line's end may be two characters (\r\n), which Swift takes for one.
        for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            func refused(_ why: String) -> Failure { Failure(.badInput, "\(name):\(index + 1): \(why)") }
            let content = trimmed(line.prefix { $0 != "#" })
            if content.isEmpty { continue }
            if content.hasPrefix("["), content.hasSuffix("]") {
                table = trimmed(content.dropFirst().dropLast())
                guard isKey(table) else { throw refused("[\(table)] is not a table's name") }
                guard tables.insert(table).inserted else { throw refused("[\(table)] is there twice") }
                continue
            }
            let parts = content.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map { trimmed($0) }
            guard parts.count == 2, isKey(parts[0]) else { throw refused("\(content): neither a [table] nor key = number") }
            guard let value = number(parts[1]) else { throw refused("\(parts[0]): \(parts[1]) is not a whole number") }
            guard !entries.contains(where: { $0.table == table && $0.key == parts[0] }) else { throw refused("\(parts[0]) is there twice") }
            entries.append(Entry(table: table, key: parts[0], value: value, line: index + 1))
        }
    }
}

private func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

/// A bare key.
private func isKey(_ text: String) -> Bool {
    !text.isEmpty
        && text.utf8.allSatisfy { byte in
            isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
        }
}

/// A decimal integer: `12`, `-1`, `1_000`.
private func number(_ text: String) -> Int? {
    let digits = (text.hasPrefix("-") || text.hasPrefix("+") ? text.dropFirst() : text[...]).split(separator: "_", omittingEmptySubsequences: false)
    guard digits.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy(isDigit) }), digits[0] == "0" && digits.count == 1 || !digits[0].hasPrefix("0") else { return nil }
    return Int((text.hasPrefix("-") ? "-" : "") + digits.joined())
}

private func trimmed(_ text: some StringProtocol) -> String {
    func isBlank(_ character: Character) -> Bool { character == " " || character == "\t" }
    let text = text.drop(while: isBlank)
    guard let last = text.lastIndex(where: { !isBlank($0) }) else { return "" }
    return String(text[...last])
}
