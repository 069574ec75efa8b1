import Testing

@testable import microvm

@Suite("The settings file")
struct SettingsTests {
    @Test("the pool has a size, and none by default")
    func size() throws {
        #expect(try Settings("# of this host\n\n[pool]\n  size = 3 # machines\n", name: "f").poolSize == 3)
        #expect(try Settings("[ pool ]\r\nsize=1_0\r\n", name: "f").poolSize == 10)
        #expect(try Settings("", name: "f").poolSize == 0)
        #expect(try Settings("[pool]", name: "f").poolSize == 0)
    }

    @Test("what is wrong is refused with the file's name, its line and its own name", arguments: [
        ("[pool]\nsize = -1", 2, "pool.size"), ("[pool]\n\nsize = 65", 3, "pool.size"), ("[pool]\nsize = \"3\"", 2, "size"), ("[pool]\nsize = 3.5", 2, "3.5"),
        ("[pool]\nsize = 99999999999999999999", 2, "size"), ("[pool]\nsize = 03", 2, "size"), ("[pool]\nsize = 1__0", 2, "size"), ("[pool]\nsize =", 2, "size"),
        ("[pool]\nsizes = 3", 2, "pool.sizes"), ("[pools]\nsize = 3", 2, "pools.size"), ("size = 3", 1, "size"), ("[pool]\nsize 3", 2, "size 3"),
        ("[pool]\nsize = 1\nsize = 2", 3, "twice"), ("[pool]\n[pool]", 2, "twice"), ("[pool\n", 1, "[table]"), ("[]", 1, "[]"), ("[p\u{f6}l]", 1, "name"), ("\u{0}", 1, "neither"),
    ])
    func wrong(text: String, line: Int, wanted: String) throws {
        let failure = #expect(throws: Failure.self) { _ = try Settings(text, name: "/etc/f.toml") }
        #expect(failure?.status == .badInput)
        #expect(failure.map { $0.description.hasPrefix("/etc/f.toml:\(line): ") && $0.description.contains(wanted) } == true, "\(failure?.description ?? "")")
    }
}
