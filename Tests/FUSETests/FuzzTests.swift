import FUSE
import Glibc
import Linux
import Testing

/// SplitMix64: the same bytes each run.
private struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}

@Suite("file server: random requests")
struct FuzzTests {
    @Test("twenty thousand requests, half sensible: every answer is whole, and nothing outside changes", arguments: [1, 2, 3])
    func random(seed: UInt64) throws {
        let outside = try TestFolder()
        try outside.makeDirectory("share")
        try outside.write("secret", "secret")
        symlink("../secret", outside.path + "/share/link")
        mkfifo(outside.path + "/share/fifo", 0o600)
        for index in 0..<5 { try Descriptor.open(outside.path + "/share/f\(index)", O_CREAT | O_WRONLY, mode: 0o644).writeAll("text") }
        let client = try Client(limits: ShareLimits(inodes: 50, openFiles: 20))
        try client.shares.add("s", root: Descriptor.open(outside.path + "/share", O_RDONLY), readOnly: false)
        var generator = Generator(state: seed)
        var answered = 0
        for _ in 0..<7_000 {
            let message = Self.message(client, &generator)
            let room = Int.random(in: 0...300, using: &generator)
            let answer = try client.exchange(message, room: room, piece: Int.random(in: 1...200, using: &generator))
            guard !answer.isEmpty else { continue }
            answered += 1
            #expect(answer.count >= 16 && answer.count <= room)
            #expect(answer[0..<4].elementsEqual(Bytes(UInt32(answer.count)).bytes))
        }
        #expect(answered > 1_000)
        #expect(try outside.read("secret") == "secret")
        #expect(try outside.open().entryNames().sorted() == ["secret", "share"])
        // Still of use.
        _ = try client.initialize()
        _ = try client.list(client.walk("s"))
    }

    private static let nodes: [UInt64] = [1, 1 << 44 | 1, 1 << 44 | 2, 1 << 44 | 3, 1 << 44 | 4, 1 << 44 | 9, 2 << 44 | 1, 0, .max]
    private static let names = ["s", "f0", "f1", "f2", "link", "fifo", "d", "../secret", "..", "/etc/passwd", "", "new"]
    private static let numbers: [UInt64] = [0, 1, 2, 3, 8, 64, 4096, 1 << 31, 1 << 32, 1 << 63 - 1, 1 << 63, .max]

    private static func message(_ client: Client, _ generator: inout Generator) -> [UInt8] {
        let opcode = Opcode.allCases.filter { $0 != .destroy && $0 != .synchronizeFileSystem }.randomElement(using: &generator) ?? .lookup
        var body: [UInt8] = []
        for _ in 0..<Int.random(in: 0...12, using: &generator) {
            switch UInt8.random(in: 0...3, using: &generator) {
            case 0: body += Bytes((numbers + nodes).randomElement(using: &generator) ?? 0).bytes
            case 1: body += Bytes(UInt32.random(in: 0...8, using: &generator)).bytes
            case 2: body += Bytes(names.randomElement(using: &generator) ?? "").bytes
            default: body.append(UInt8.random(in: .min ... .max, using: &generator))
            }
        }
        // FALLOCATE would fill the disk for real.
        if opcode == .allocate { body = Array(body.prefix(20)) }
        if opcode == .initialize { body = Bytes(UInt32(7), UInt32(39), UInt32(0), UInt32.random(in: 0...UInt32.max >> 2, using: &generator)).bytes }
        var message = client.message(opcode, nodes.randomElement(using: &generator) ?? 1, body)
        if Int.random(in: 0...9, using: &generator) == 0 {
            for _ in 0..<3 { message[Int.random(in: 0..<message.count, using: &generator)] = UInt8.random(in: .min ... .max, using: &generator) }
        }
        return message
    }
}
