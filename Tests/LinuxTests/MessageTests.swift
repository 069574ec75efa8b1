import Glibc
import Testing

@testable import Linux

@Suite("Messages with their length before them, and their answers")
struct MessageTests {
    let loop = try! EventLoop()
    let path = "/tmp/microvm-messages-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"

    func run(_ condition: () -> Bool) throws {
        for _ in 0..<500 where !condition() { try loop.runOnce(milliseconds: 10) }
        #expect(condition())
    }

    func exchange(_ question: [UInt8], seconds: UInt64 = 10) throws -> [UInt8]? {
        var answer: [UInt8]??
        let exchange = try MessageExchange(
            .connecting(to: .unix(path)), .prefixed, asking: question, atMost: seconds * 1_000_000_000, on: loop) { answer = .some($0) }
        try run { answer != nil }
        withExtendedLifetime(exchange) {}
        return answer ?? nil
    }

    @Test("a question gets its answer, the longest too; one that is longer is refused")
    func answers() throws {
        defer { unlink(path) }
        let server = try MessageServer(.listening(at: .unix(path)), patience: 10_000_000_000, on: loop) { $1($0.reversed()) }
        #expect(try exchange([1, 2, 3]) == [3, 2, 1])
        #expect(try exchange([]) == [])
        let long = [UInt8](repeating: 1, count: PrefixedMessage.limit - 1) + [2]
        #expect(try exchange(long) == long.reversed())
        #expect(throws: SystemError.self) { try exchange(long + [3]) }
        withExtendedLifetime(server) {}
    }

    @Test("several on one connection, in pieces; the last is answered though no more can come")
    func connection() throws {
        defer { unlink(path) }
        let server = try MessageServer(.listening(at: .unix(path)), patience: 10_000_000_000, on: loop) { $1($0 + [9]) }
        let socket = try Descriptor.connected(to: .unix(path))
        try socket.setNonBlocking()
        var received: [UInt8] = []
        for byte: UInt8 in [0, 1, 7, 0, 2, 5, 6] {
            _ = try socket.write([byte])
            try loop.runOnce(milliseconds: 10)
        }
        try run {
            received += (try? socket.read(upTo: 64)) ?? []
            return received.count >= 9
        }
        #expect(received == [0, 2, 7, 9, 0, 3, 5, 6, 9])
        withExtendedLifetime(server) {}
    }

    @Test("no answer: the asker hears of it when the server closes, and when the time is over")
    func silence() throws {
        defer { unlink(path) }
        var kept: [([UInt8]?) -> Void] = []
        let server = try MessageServer(.listening(at: .unix(path)), patience: 10_000_000_000, on: loop) { question, answer in
            if question == [0] { answer(nil) } else { kept.append(answer) }
        }
        #expect(try exchange([0]) == nil)
        #expect(try exchange([1], seconds: 0) == nil)
        kept.forEach { $0([1]) }
        #expect(try exchange([0]) == nil)
        withExtendedLifetime(server) {}
    }

    @Test("an idle connection is closed, and so is everything when the server goes")
    func idle() throws {
        defer { unlink(path) }
        var server: MessageServer? = try MessageServer(.listening(at: .unix(path)), patience: 50_000_000, on: loop) { $1($0) }
        let first = try Descriptor.connected(to: .unix(path))
        try first.setNonBlocking()
        try run { (try? first.read(upTo: 1)) == [] }
        let second = try Descriptor.connected(to: .unix(path))
        try loop.runOnce(milliseconds: 10)
        #expect(server != nil)
        server = nil
        #expect(try second.read(upTo: 1) == [])
    }

    @Test("datagrams go to whoever asked, and TCP listens beside them at one address")
    func internet() throws {
        let address = try #require(IPAddress([127, 0, 0, 1]))
        let port = UInt16.random(in: 20000...30000)
        let server = try Descriptor.internetSocket(.udp, at: address, port: port)
        let listener = try Descriptor.internetSocket(.tcp, at: address, port: port)
        var answer: [UInt8]??
        let exchange = try MessageExchange(
            .internetSocket(.udp, to: address, port: port), .datagrams, asking: [4, 5], atMost: 10_000_000_000, on: loop) { answer = .some($0) }
        try loop.add(server, .readable) { _ in
            guard let (question, sender) = try? server.receiveDatagram(limit: 100) else { return }
            try? server.sendDatagram(question + [6], to: sender)
        }
        try run { answer != nil }
        withExtendedLifetime(exchange) {}
        #expect(answer == [4, 5, 6])
        let stream = try Descriptor.internetSocket(.tcp, to: address, port: port)
        var accepted: Descriptor?
        try run {
            accepted = accepted ?? (try? listener.accept())
            return accepted != nil
        }
        loop.remove(server)
        withExtendedLifetime(stream) {}
    }
}
