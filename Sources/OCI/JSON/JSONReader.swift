extension JSON {
    /// Reads one JSON text, all of `bytes`.
    ///
    /// - Throws: the first fault, with its line and column. Duplicate keys are faults: two readers that
    ///   each take another of them would see two different containers.
    public static func read(_ bytes: [UInt8]) throws(JSON.Error) -> Value {
        var reader = Reader(bytes)
        return try reader.document()
    }
}

private struct Reader {
    private let bytes: [UInt8]
    private var next = 0
    private var line = 1
    private var lineStart = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        // A byte order mark is no JSON, but editors leave it and RFC 8259, 8.1 lets readers skip it.
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { next = 3 }
    }

    mutating func document() throws(JSON.Error) -> JSON.Value {
        let value = try value(depth: 0)
        skipSpace()
        if let byte = peek { throw fault("unexpected \(name(byte)) after the end") }
        return value
    }

    // MARK: values

    private mutating func value(depth: Int) throws(JSON.Error) -> JSON.Value {
        skipSpace()
        let start = position
        if depth > JSON.maximumDepth { throw fault("nested deeper than \(JSON.maximumDepth)") }
        switch peek {
        case UInt8(ascii: "{"): return JSON.Value(.object(try object(depth: depth)), at: start)
        case UInt8(ascii: "["): return JSON.Value(.array(try array(depth: depth)), at: start)
        case UInt8(ascii: "\""): return JSON.Value(.string(try string()), at: start)
        case UInt8(ascii: "-"), .some(UInt8(ascii: "0")...UInt8(ascii: "9")): return JSON.Value(.number(try number()), at: start)
        case UInt8(ascii: "t"): return JSON.Value(try word("true", .bool(true)), at: start)
        case UInt8(ascii: "f"): return JSON.Value(try word("false", .bool(false)), at: start)
        case UInt8(ascii: "n"): return JSON.Value(try word("null", .null), at: start)
        case let byte: throw fault("expected a value, found \(name(byte))")
        }
    }

    private mutating func object(depth: Int) throws(JSON.Error) -> JSON.Object {
        var object = JSON.Object()
        advance()
        skipSpace()
        if take("}") { return object }
        while true {
            skipSpace()
            guard peek == UInt8(ascii: "\"") else { throw fault("expected a key in quotes, found \(name(peek))") }
            let keyPosition = position
            let key = try string()
            skipSpace()
            guard take(":") else { throw fault("expected ':' after \"\(key)\", found \(name(peek))") }
            let value = try value(depth: depth + 1)
            guard object.append(key, value) else { throw JSON.Error(at: keyPosition, "duplicate key \"\(key)\"") }
            skipSpace()
            if take("}") { return object }
            guard take(",") else { throw fault("expected ',' or '}', found \(name(peek))") }
        }
    }

    private mutating func array(depth: Int) throws(JSON.Error) -> [JSON.Value] {
        var elements: [JSON.Value] = []
        advance()
        skipSpace()
        if take("]") { return elements }
        while true {
            elements.append(try value(depth: depth + 1))
            skipSpace()
            if take("]") { return elements }
            guard take(",") else { throw fault("expected ',' or ']', found \(name(peek))") }
        }
    }

    private mutating func word(_ word: StaticString, _ content: JSON.Content) throws(JSON.Error) -> JSON.Content {
        let text = word.description
        guard bytes[next...].starts(with: text.utf8) else { throw fault("expected \(text)") }
        next += text.utf8.count
        return content
    }

    private mutating func number() throws(JSON.Error) -> String {
        let start = next
        _ = take("-")
        if !take("0") { try digits() }
        if take(".") { try digits() }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            try digits()
        }
        if let byte = peek, isDigit(byte) { throw fault("a number does not begin with 0") }
        return String(decoding: bytes[start..<next], as: UTF8.self)
    }

    private mutating func digits() throws(JSON.Error) {
        guard let byte = peek, isDigit(byte) else { throw fault("expected a digit, found \(name(peek))") }
        while let byte = peek, isDigit(byte) { advance() }
    }

    // MARK: strings

    private mutating func string() throws(JSON.Error) -> String {
        let opening = position
        advance()
        let start = next
        while let byte = peek, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { advance() }
        // Nearly every string: no escape, one copy.
        if peek == UInt8(ascii: "\"") {
            defer { advance() }
            return try text(bytes[start..<next], opening)
        }
        var unescaped = Array(bytes[start..<next])
        while true {
            switch peek {
            case UInt8(ascii: "\""):
                advance()
                return try text(unescaped[...], opening)
            case UInt8(ascii: "\\"):
                advance()
                try escape(into: &unescaped)
            case .some(let byte) where byte >= 0x20:
                unescaped.append(byte)
                advance()
            case .some(let byte): throw fault("\(name(byte)) in a string")
            case nil: throw JSON.Error(at: opening, "string without its closing quote")
            }
        }
    }

    private func text(_ bytes: ArraySlice<UInt8>, _ opening: JSON.Position) throws(JSON.Error) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw JSON.Error(at: opening, "string is not UTF-8") }
        return text
    }

    private mutating func escape(into text: inout [UInt8]) throws(JSON.Error) {
        guard let byte = peek else { throw fault("escape without its letter") }
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            advance()
            text.append(contentsOf: try unicodeEscape().utf8)
            return
        default: throw fault("unknown escape '\\' and \(name(byte))")
        }
        advance()
    }

    /// The digits after `\u`; half a surrogate pair becomes U+FFFD, as in Go.
    private mutating func unicodeEscape() throws(JSON.Error) -> String {
        let first = try hex4()
        guard 0xD800..<0xDC00 ~= first, bytes[next...].starts(with: [UInt8(ascii: "\\"), UInt8(ascii: "u")]) else {
            return scalar(first)
        }
        let before = next
        next += 2
        let second = try hex4()
        if 0xDC00..<0xE000 ~= second { return scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00)) }
        next = before
        return scalar(first)
    }

    private func scalar(_ code: UInt32) -> String {
        String(Character(Unicode.Scalar(code) ?? "\u{FFFD}"))
    }

    private mutating func hex4() throws(JSON.Error) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = peek, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
                throw fault("expected four hexadecimal digits")
            }
            code = code << 4 | UInt32(digit)
            advance()
        }
        return code
    }

    // MARK: bytes

    private var peek: UInt8? { next < bytes.count ? bytes[next] : nil }

    private var position: JSON.Position { JSON.Position(line: line, column: next - lineStart + 1) }

    private mutating func advance() { next += 1 }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard peek == UInt8(ascii: character) else { return false }
        advance()
        return true
    }

    private mutating func skipSpace() {
        while let byte = peek {
            switch byte {
            case UInt8(ascii: "\n"):
                advance()
                line += 1
                lineStart = next
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"): advance()
            default: return
            }
        }
    }

    private func isDigit(_ byte: UInt8) -> Bool { UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte }

    private func fault(_ message: String) -> JSON.Error { JSON.Error(at: position, message) }

    private func name(_ byte: UInt8?) -> String {
        guard let byte else { return "the end of the file" }
        return 0x21...0x7E ~= byte ? "'\(Character(Unicode.Scalar(byte)))'" : "byte 0x\(String(byte, radix: 16))"
    }
}
