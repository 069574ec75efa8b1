import Glibc
import Linux
import OCI
import Testing

@testable import Sandbox

@Suite("A template's working set")
struct WorkingSetTests {
    private static let page = 4096
    private static let pages = 20000

    /// A template's directory, with a memory file and nothing else.
    private func withTemplate(_ body: (Descriptor) throws -> Void) throws {
        // On a disk: tmpfs has no page cache to read into.
        let path = "/var/tmp/microvm-working-set-test-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        try makeDirectories(path, mode: 0o700)
        defer { _ = try? ChildProcess("/bin/rm", ["rm", "-rf", path], .init()).reap() }
        let directory = try Descriptor.open(path, O_RDONLY | O_DIRECTORY)
        try directory.replaceFile("memory", with: [])
        try Descriptor.open("memory", O_RDWR, at: directory).truncate(to: Self.pages * Self.page)
        try body(directory)
    }

    private func recorded(_ directory: Descriptor) throws -> [UInt8] {
        try Descriptor.open(WorkingSet.name, O_RDONLY, at: directory).readToEnd()
    }

    @Test("what a monitor answers is written down, the user's alone, and read ahead from then on")
    func life() throws {
        try withTemplate { directory in
            #expect(WorkingSet.read(from: directory) == nil)
            #expect(WorkingSet.prefetch(from: directory) == nil)
            try WorkingSet.record(touched: "0+1 17+40 19999+1", written: "18+2 30+1", for: directory)
            #expect(WorkingSet.read(from: directory)?.bytes == 42 * Self.page)
            #expect(WorkingSet.prefetch(from: directory)?.writtenRuns == "18+2,30+1")
            #expect(try Descriptor.open(WorkingSet.name, O_RDONLY, at: directory).status().st_mode & 0o777 == 0o600)
            #expect(try directory.entryNames().sorted() == ["memory", WorkingSet.name])
        }
    }

    @Test("runs of more than a request are read ahead whole")
    func prefetch() throws {
        try withTemplate { directory in
            let memory = try Descriptor.open("memory", O_RDWR, at: directory)
            try memory.writeAll([UInt8](repeating: 1, count: 1000 * Self.page))
            try memory.synchronize()
            func cached() throws -> Int {
                let mapping = try Mapping(memory, count: 1000 * Self.page, access: .read, sharing: .shared)
                var residency = [UInt8](repeating: 0, count: 1000)
                #expect(mincore(mapping.base, mapping.count, &residency) == 0)
                return residency.count { $0 & 1 != 0 }
            }
            posix_fadvise(memory.raw, 0, 0, POSIX_FADV_DONTNEED)
            // A file system in memory, or one that somebody else reads meanwhile.
            guard try cached() == 0 else { return }
            try WorkingSet.record(touched: "3+1 100+800", written: "", for: directory)
            #expect(WorkingSet.prefetch(from: directory) != nil)
            for _ in 0..<200 where try cached() < 801 { usleep(10_000) }
            #expect(try cached() == 801)
        }
    }

    /// What is no answer, whichever the question.
    private static let noAnswers = [
        "0", "0+0", "+", "1+", "a+b", "-1+2", "0+1+2", "5+1 5+1", "5+2 6+1", "9+1 1+1", "20000+1", "19999+2", "0+16385", "0+20000",
        "18446744073709551615+1", "1+18446744073709551615", "18446744073709551615+18446744073709551615", "99999999999999999999+1",
        "2+9223372036854775807 3+9223372036854775807", String(repeating: "1+1 ", count: 1000),
        (0..<201).map { "\($0 * 2)+1" }.joined(separator: " "),
    ]

    @Test("an answer that is none is not written down", arguments: [("", "")] + noAnswers.map { ($0, "") } + (noAnswers + ["0+513", "0+512 600+1"]).map { ("3+4", $0) })
    func hostileAnswers(_ touched: String, _ written: String) throws {
        try withTemplate { directory in
            #expect(throws: SandboxError.self) { try WorkingSet.record(touched: touched, written: written, for: directory) }
            let names = try directory.entryNames()
            #expect(names == ["memory"])
        }
    }

    @Test("a damaged record is as none, and the next one takes its place")
    func damaged() throws {
        try withTemplate { directory in
            try WorkingSet.record(touched: "3+4", written: "5+1", for: directory)
            let good = try recorded(directory)
            let text = String(decoding: good, as: UTF8.self)
            #expect(text.contains("[3,4]"))
            #expect(text.contains("[5,1]"))
            func with(_ pages: String) -> [UInt8] { Array(text.replacing("[3,4]", with: pages).utf8) }
            func written(_ pages: String) -> [UInt8] { Array(text.replacing("[5,1]", with: pages).utf8) }
            let huge = [UInt8](repeating: UInt8(ascii: " "), count: 1 << 20) + good
            let many = with("[" + (0..<100_000).map { "\($0)" }.joined(separator: ",") + "]")
            let numbers = ["[]", "[3]", "[3,4,5]", "[3,0]", "[19999,2]", "[3,18446744073709551615]", "[18446744073709551615,1]", "[3,4,5,1]", "[-3,4]",
                "[3,1e300]", "[3,99999999999999999999999]", "[0,16385]", "[0,16384,16384,1]", "{}", "null", "\"3\""]
            let cuts = stride(from: 0, to: good.count, by: 7).map { Array(good[..<$0]) }
            for content in cuts + numbers.map(with) + (numbers.dropFirst() + ["[0,513]", "[0,512,600,1]"]).map(written) + [huge, many, Array("\u{0}\u{0}".utf8), Array(text.replacing("\"version\":2", with: "\"version\":1").utf8)] {
                try directory.replaceFile(WorkingSet.name, with: content)
                #expect(WorkingSet.read(from: directory) == nil, "\(String(decoding: content.prefix(100), as: UTF8.self))")
                #expect(WorkingSet.prefetch(from: directory) == nil)
            }
            try WorkingSet.record(touched: "3+4", written: "5+1", for: directory)
            #expect(try recorded(directory) == good)
            #expect(WorkingSet.prefetch(from: directory) != nil)
        }
    }

    @Test("a record of another memory file says nothing: one that was written to, cut, or put in its place")
    func otherMemory() throws {
        try withTemplate { directory in
            func expectNone() throws {
                #expect(WorkingSet.read(from: directory) == nil)
                try WorkingSet.record(touched: "3+4", written: "", for: directory)
                #expect(WorkingSet.read(from: directory) != nil)
                usleep(20_000)
            }
            try expectNone()
            _ = try Descriptor.open("memory", O_RDWR, at: directory).write([1], at: 0)
            try expectNone()
            try Descriptor.open("memory", O_RDWR, at: directory).truncate(to: 100 * Self.page)
            try expectNone()
            try directory.replaceFile("memory", with: [UInt8](repeating: 0, count: 100 * Self.page))
            try expectNone()
            try directory.remove("memory")
            #expect(WorkingSet.prefetch(from: directory) == nil)
            #expect(throws: SystemError.self) { try WorkingSet.record(touched: "3+4", written: "", for: directory) }
        }
    }

    @Test("what is no file of its own is no record, and nobody waits for it", arguments: ["link", "fifo", "directory"])
    func notAFile(_ kind: String) throws {
        try withTemplate { directory in
            try WorkingSet.record(touched: "3+4", written: "", for: directory)
            try directory.rename(WorkingSet.name, to: "other", replacing: false)
            let path = try readLink("/proc/self/fd/\(directory.raw)") + "/\(WorkingSet.name)"
            switch kind {
            case "link": symlink("other", path)
            case "fifo": mkfifo(path, 0o600)
            default: mkdir(path, 0o700)
            }
            #expect(WorkingSet.prefetch(from: directory) == nil)
        }
    }
}
