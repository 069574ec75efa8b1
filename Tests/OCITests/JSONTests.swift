import Testing

@testable import OCI

struct JSONTests {
    @Test("every kind of value is read and written back", arguments: [
        "null", "true", "false", "0", "-0", "-12.5e+3", "1E9", "\"\"", "[]", "{}", #"[1,"a",[null],{"k":{}}]"#,
        #""\"\\\n\r\t\u0001é😀""#,
    ])
    func roundTrip(text: String) throws {
        #expect(JSON.write(try JSON.read(Array(text.utf8))) == text)
    }

    @Test("escapes mean the characters they stand for", arguments: [
        (#""\u0041\/\b\f""#, "A/\u{8}\u{c}"), (#""\ud83d\ude00""#, "😀"), (#""\ud83dx""#, "\u{FFFD}x"), (#""\ude00""#, "\u{FFFD}"),
        (#""\ud83d\u0041""#, "\u{FFFD}A"),
    ])
    func escapes(text: String, expected: String) throws {
        #expect(try JSON.read(Array(text.utf8)).content == .string(expected))
    }

    @Test("malformed text is refused with its line and column", arguments: [
        ("", "line 1, column 1: expected a value, found the end of the file"),
        ("{\n  \"a\": 1,\n}", "line 3, column 1: expected a key in quotes, found '}'"),
        ("{\n  \"a\" 1}", "line 2, column 7: expected ':' after \"a\", found '1'"),
        ("{\"a\": 1 \"b\": 2}", "line 1, column 9: expected ',' or '}', found '\"'"),
        ("[1 2]", "line 1, column 4: expected ',' or ']', found '2'"),
        ("[1,]", "line 1, column 4: expected a value, found ']'"),
        ("{a: 1}", "line 1, column 2: expected a key in quotes, found 'a'"),
        ("{\"a\": tru}", "line 1, column 7: expected true"),
        ("{\"a\": 'b'}", "line 1, column 7: expected a value, found '''"),
        ("\"abc", "line 1, column 1: string without its closing quote"),
        ("\"a\nb\"", "line 1, column 3: byte 0xa in a string"),
        ("\"\\x\"", "line 1, column 3: unknown escape '\\' and 'x'"),
        ("\"\\u12g4\"", "line 1, column 6: expected four hexadecimal digits"),
        ("01", "line 1, column 2: a number does not begin with 0"),
        ("-", "line 1, column 2: expected a digit, found the end of the file"),
        ("1.", "line 1, column 3: expected a digit, found the end of the file"),
        ("{} {}", "line 1, column 4: unexpected '{' after the end"),
        ("{\"a\": 1,\n \"a\": 2}", "line 2, column 2: duplicate key \"a\""),
        ("// note\n{}", "line 1, column 1: expected a value, found '/'"),
    ])
    func malformed(text: String, expected: String) {
        #expect {
            try JSON.read(Array(text.utf8))
        } throws: {
            "\($0)" == expected
        }
    }

    @Test("bytes that are no UTF-8 are refused")
    func encoding() {
        #expect(throws: JSON.Error.self) { try JSON.read([0x22, 0xFF, 0x22]) }
    }

    @Test("a byte order mark is skipped")
    func byteOrderMark() throws {
        #expect(try JSON.read([0xEF, 0xBB, 0xBF, 0x31]).content == .number("1"))
    }

    @Test("nesting has a limit, so that a hostile file cannot use up the stack")
    func depth() throws {
        func nested(_ depth: Int) -> [UInt8] { Array((String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8) }
        _ = try JSON.read(nested(JSON.maximumDepth + 1))
        #expect(throws: JSON.Error.self) { try JSON.read(nested(JSON.maximumDepth + 2)) }
        #expect(throws: JSON.Error.self) { try JSON.read(Array(repeating: UInt8(ascii: "["), count: 1_000_000)) }
    }

    @Test("members are found by key in small and in large objects")
    func lookup() throws {
        for count in [1, 15, 16, 17, 1000] {
            let text = "{" + (0..<count).map { "\"k\($0)\":\($0)" }.joined(separator: ",") + "}"
            guard case .object(let object) = try JSON.read(Array(text.utf8)).content else {
                Issue.record("not an object")
                continue
            }
            for key in 0..<count { #expect(object["k\(key)"]?.content == .number("\(key)")) }
            #expect(object["k\(count)"] == nil)
            #expect(object["K0"] == nil)
        }
    }

    @Test("a map is written sorted, so that equal values have equal texts")
    func sortedMaps() throws {
        #expect(try JSON.encode(["b": 1, "a": 2, "c": 3]) == #"{"a":2,"b":1,"c":3}"#)
    }

    @Test("the pretty layout is runc's: tabs, one member a line, empty lists closed at once")
    func pretty() throws {
        let value = try JSON.read(Array(#"{"a":[1,{}],"b":[]}"#.utf8))
        #expect(JSON.write(value, .pretty) == "{\n\t\"a\": [\n\t\t1,\n\t\t{}\n\t],\n\t\"b\": []\n}")
    }
}
