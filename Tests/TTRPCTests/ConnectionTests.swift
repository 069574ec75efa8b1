import Glibc
import Linux
import Testing

@testable import TTRPC

/// Client and server over a real socket pair, on one loop.
@Suite struct ConnectionTests {
    let loop: EventLoop
    let sockets: (Descriptor, Descriptor)

    init() throws {
        signal(SIGPIPE, SIG_IGN)
        loop = try EventLoop()
        sockets = try Descriptor.socketPair()
    }

    func run(until done: () -> Bool) throws {
        let end = monotonicNanoseconds() + 10_000_000_000
        while !done() {
            guard monotonicNanoseconds() < end else { Issue.record("nothing happened in ten seconds"); return }
            try loop.runOnce(milliseconds: 100)
        }
    }

    func makeServer() throws -> Server {
        var methods = MethodTable()
        methods.answer(echo) { $0 }
        methods.on(Method<EnvelopeKeyValue, EnvelopeKeyValue>("test.Echo", "Slow")) { [loop] request, reply in
            loop.schedule(afterNanoseconds: 20_000_000) { reply.succeed(request) }
        }
        return Server(methods, on: loop)
    }

    @Test("a hundred concurrent calls, some slow, are all answered")
    func concurrent() throws {
        let server = try makeServer()
        try server.serve(sockets.0)
        let client = try Client(sockets.1, on: loop)
        let slow = Method<EnvelopeKeyValue, EnvelopeKeyValue>("test.Echo", "Slow")
        var answers: [String] = []
        for number in 0..<100 {
            client.call(number % 3 == 0 ? slow : echo, .with { $0.value = "\(number)" }, deadline: 5_000_000_000) {
                answers.append((try? $0.get().value) ?? "failed")
            }
        }
        try run { answers.count == 100 }
        #expect(Set(answers) == Set((0..<100).map { "\($0)" }))
    }

    @Test("a client goes on with a connection that another one gives up, once nothing is asked")
    func handOver() throws {
        let server = try makeServer()
        try server.serve(sockets.0)
        let first = try Client(sockets.1, on: loop)
        first.onClose = { _ in Issue.record("closed") }
        var answers: [String] = []
        func ask(_ client: Client, _ text: String) {
            client.call(echo, .with { $0.value = text }, deadline: 5_000_000_000) { answers.append((try? $0.get().value) ?? "failed") }
        }
        ask(first, "one")
        #expect(first.handOver() == nil)
        try run { answers.count == 1 }
        let (socket, nextStream) = try #require(first.handOver())
        let second = try Client(socket, on: loop, nextStream: nextStream)
        first.close()
        ask(second, "two")
        try run { answers.count == 2 }
        #expect(answers == ["one", "two"])
        #expect(server.connectionCount == 1)
    }

    @Test("three megabytes go through in both directions")
    func large() throws {
        let server = try makeServer()
        try server.serve(sockets.0)
        let client = try Client(sockets.1, on: loop)
        let text = String(repeating: "0123456789abcdef", count: 3 << 16)
        var answer: Result<EnvelopeKeyValue, Status>?
        let large = Method<EnvelopeKeyValue, EnvelopeKeyValue>("test.Echo", "Echo", responseLimit: 4 << 20)
        client.call(large, .with { $0.value = text }, deadline: 9_000_000_000) { answer = $0 }
        try run { answer != nil }
        #expect(try answer?.get().value == text)
    }

    @Test("a deadline ends a call the server keeps, and the connection stays usable")
    func deadline() throws {
        let server = try makeServer()
        try server.serve(sockets.0)
        let client = try Client(sockets.1, on: loop)
        let slow = Method<EnvelopeKeyValue, EnvelopeKeyValue>("test.Echo", "Slow")
        var answers: [Result<EnvelopeKeyValue, Status>] = []
        client.call(slow, .init(), deadline: 1_000_000) { answers.append($0) }
        try run { answers.count == 1 }
        guard case .failure(let status)? = answers.first else { Issue.record("no failure"); return }
        #expect(status.code == .deadlineExceeded)
        client.call(slow, .init(), deadline: 5_000_000_000) { answers.append($0) }
        try run { answers.count == 2 }
        #expect((try? answers.last?.get()) != nil)
    }

    @Test("a server that leaves fails the open calls and says so once")
    func serverGone() throws {
        let client = try Client(sockets.1, on: loop)
        var closed = 0
        var answer: Result<EnvelopeKeyValue, Status>?
        client.onClose = { _ in closed += 1 }
        client.call(echo, .init(), deadline: nil) { answer = $0 }
        try sockets.0.shutdown(.both)
        try run { closed > 0 }
        guard case .failure(let status)? = answer else { Issue.record("no failure"); return }
        #expect(status.code == .unavailable)
        #expect(closed == 1)
    }

    @Test("a server that talks nonsense is hung up on, with the reason")
    func nonsense() throws {
        let client = try Client(sockets.1, on: loop)
        var reason: (any Error)?
        client.onClose = { reason = $0 }
        try sockets.0.writeAll(try response(77))
        try run { reason != nil }
        #expect(reason is ProtocolViolation)
        #expect(try sockets.0.read(upTo: 1).isEmpty)
    }

    @Test("a client that never reads its answers is not read from for ever")
    func stalledReader() throws {
        let server = try makeServer()
        try server.serve(sockets.0)
        try sockets.1.setNonBlocking()
        var sent = 0
        var stream: UInt32 = 1
        let text = String(repeating: "x", count: 60_000)
        var pending: [UInt8] = []
        for _ in 0..<2_000 {
            if pending.isEmpty {
                pending = try request(stream, text: text)
                stream += 2
            }
            if let count = try? sockets.1.write(pending) {
                sent += count
                pending.removeFirst(count)
            }
            try loop.runOnce(milliseconds: 0)
        }
        #expect(sent < 8 << 20)
    }

    @Test("the server forgets a connection that ends")
    func forgets() throws {
        let server = try makeServer()
        var ended = false
        try server.serve(sockets.0) { ended = true }
        #expect(server.connectionCount == 1)
        try sockets.1.shutdown(.both)
        try run { ended }
        #expect(server.connectionCount == 0)
    }
}
