import Testing

@testable import TTRPC

/// Any message will do for a payload; the envelope's own is at hand.
let echo = Method<EnvelopeKeyValue, EnvelopeKeyValue>("test.Echo", "Echo")

func request(_ stream: UInt32, service: String = "test.Echo", method: String = "Echo", text: String = "hello") throws -> [UInt8] {
    let payload: [UInt8] = try EnvelopeKeyValue.with { $0.value = text }.serializedBytes()
    let envelope = EnvelopeRequest.with {
        $0.service = service
        $0.method = method
        $0.payload = .init(payload)
    }
    return Frame(stream: stream, kind: .request, payload: try envelope.serializedBytes()).encoded
}

func response(_ stream: UInt32, text: String = "hello") throws -> [UInt8] {
    let payload: [UInt8] = try EnvelopeKeyValue.with { $0.value = text }.serializedBytes()
    return Frame(stream: stream, kind: .response, payload: try EnvelopeResponse.with { $0.payload = .init(payload) }.serializedBytes()).encoded
}

/// Frames a core sent.
final class Outbox {
    private var decoder = FrameDecoder()
    private(set) var frames: [Frame] = []

    func take(_ bytes: [UInt8]) {
        decoder.feed(bytes)
        while case .frame(let frame)? = decoder.next() { frames.append(frame) }
    }

    /// Stream and status code (0: success) of each response, in order.
    var answers: [[Int]] {
        frames.map { frame in
            let code = (try? EnvelopeResponse(serializedBytes: frame.payload))?.status.code ?? -1
            return [Int(frame.stream), Int(code)]
        }
    }
}

@Suite struct ServerCoreTests {
    final class Server {
        let outbox = Outbox()
        var held: [MethodTable.Reply<EnvelopeKeyValue>] = []
        private(set) lazy var core: ServerCore = {
            var methods = MethodTable()
            methods.answer(echo) { request in
                if request.value == "refuse" { throw Status(.notFound, "no such thing") }
                return request
            }
            methods.on(Method<EnvelopeKeyValue, EnvelopeKeyValue>("test.Echo", "Hold")) { [unowned self] _, reply in held.append(reply) }
            return ServerCore(methods) { [outbox] in outbox.take($0) }
        }()
    }

    @Test("a call is answered on its stream")
    func answer() throws {
        let server = Server()
        server.core.receive(try request(1))
        #expect(server.outbox.frames.map(\.encoded) == [try response(1)])
    }

    @Test("replies may come in any order, each once")
    func outOfOrder() throws {
        let server = Server()
        server.core.receive(try request(1, method: "Hold") + request(3, method: "Hold") + request(5))
        #expect(server.outbox.answers == [[5, 0]])
        #expect(server.core.outstanding == 2)
        server.held[1].succeed(.init())
        server.held[1].fail(Status(.aborted, "twice"))
        server.held[0].fail(Status(.aborted, ""))
        #expect(server.outbox.answers == [[5, 0], [3, 0], [1, 10]])
        #expect(server.core.outstanding == 0)
    }

    @Test("a reply nobody gave fails the call when it is dropped")
    func dropped() throws {
        let server = Server()
        server.core.receive(try request(1, method: "Hold"))
        server.held = []
        #expect(server.outbox.answers == [[1, 13]])
    }

    @Test("what cannot be served is refused with ttrpc's codes, and the connection goes on")
    func refusals() throws {
        let server = Server()
        server.core.receive(try request(1, method: "Nope"))
        server.core.receive(try request(3, service: "nope"))
        server.core.receive(try request(4))
        server.core.receive(try request(3))
        server.core.receive(Frame(stream: 5, kind: .request, payload: [0xff, 0xff]).encoded)
        server.core.receive(try request(7, text: "refuse"))
        server.core.receive(Frame(stream: 9, kind: .request, payload: [UInt8](repeating: 0, count: Frame.maximumPayload + 1)).encoded)
        server.core.receive(try request(11))
        #expect(server.outbox.answers == [[1, 12], [3, 12], [4, 3], [3, 3], [5, 3], [7, 5], [9, 8], [11, 0]])
    }

    @Test("data frames and types of later versions are skipped")
    func unknownTypes() throws {
        let server = Server()
        for type in [0, 2, 3, 4, 255] as [UInt8] {
            server.core.receive(Frame(stream: 1, type: type, flags: 0, payload: [1, 2, 3]).encoded)
        }
        server.core.receive(try request(1))
        #expect(server.outbox.answers == [[1, 0]])
    }

    @Test("a client cannot pile up unanswered calls without end")
    func tooMany() throws {
        let server = Server()
        for call in 0...UInt32(ServerCore.maximumOutstanding) {
            server.core.receive(try request(1 + 2 * call, method: "Hold"))
        }
        #expect(server.outbox.answers == [[1 + 2 * ServerCore.maximumOutstanding, 8]])
        #expect(server.core.outstanding == ServerCore.maximumOutstanding)
    }
}

@Suite struct ClientCoreTests {
    final class Caller {
        let outbox = Outbox()
        var results: [Result<EnvelopeKeyValue, Status>] = []
        private(set) lazy var core = ClientCore { [outbox] in outbox.take($0) }

        @discardableResult
        func call(_ text: String = "hello", _ method: Method<EnvelopeKeyValue, EnvelopeKeyValue> = echo) -> UInt32? {
            core.call(method, .with { $0.value = text }) { [unowned self] in results.append($0) }
        }
    }

    @Test("a call whose sending finds the connection gone has failed when it returns")
    func goneWhileSending() {
        var core: ClientCore?
        core = ClientCore { _ in core?.close(Status(.unavailable, "gone")) }
        var failures = 0
        let stream = core?.call(echo, EnvelopeKeyValue()) { if case .failure = $0 { failures += 1 } }
        #expect(stream == nil)
        #expect(failures == 1)
    }

    @Test("stream ids are odd and grow, and each response completes its own call")
    func streams() throws {
        let caller = Caller()
        #expect([caller.call(), caller.call(), caller.call()] == [1, 3, 5])
        #expect(caller.outbox.frames.map(\.encoded) == [try request(1), try request(3), try request(5)])
        try caller.core.receive(try response(5, text: "five") + response(1, text: "one"))
        #expect(caller.results.map { try? $0.get().value } == ["five", "one"])
    }

    @Test("a status fails the call; hostile text is cut and freed of control characters")
    func status() throws {
        let caller = Caller()
        caller.call()
        let text = "\u{1b}[31mred\n" + String(repeating: "x", count: 10_000)
        let envelope = EnvelopeResponse.with { $0.status = .with { $0.code = 9999; $0.message = text } }
        try caller.core.receive(Frame(stream: 1, kind: .response, payload: try envelope.serializedBytes()).encoded)
        guard case .failure(let status)? = caller.results.first else { Issue.record("no failure"); return }
        #expect(status.code == .unknown)
        #expect(status.message.hasPrefix(" [31mred x"))
        #expect(status.message.count == 4096)
    }

    @Test("a response that was not asked for, twice given, of another kind or too long breaks the connection")
    func violations() throws {
        let unasked: [[UInt8]] = [
            try response(3), try response(0), try response(1) + response(1),
            Frame(stream: 1, kind: .data, payload: []).encoded, try request(1),
            Frame(stream: 1, kind: .response, payload: [0xff]).encoded,
            Frame(stream: 1, kind: .response, payload: [UInt8](repeating: 0, count: 100_000)).encoded,
            [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 2, 0],
        ]
        for bytes in unasked {
            let caller = Caller()
            caller.call()
            #expect(throws: ProtocolViolation.self) { try caller.core.receive(bytes) }
        }
    }

    @Test("a response whose payload is no message fails that call only")
    func badPayload() throws {
        let caller = Caller()
        caller.call()
        caller.call()
        let envelope = EnvelopeResponse.with { $0.payload = .init([0xff, 0xff]) }
        try caller.core.receive(Frame(stream: 1, kind: .response, payload: try envelope.serializedBytes()).encoded)
        try caller.core.receive(try response(3))
        #expect(caller.results.map { (try? $0.get()) == nil } == [true, false])
    }

    @Test("an abandoned call fails once, and its late answer is dropped")
    func abandoned() throws {
        let caller = Caller()
        let stream = try #require(caller.call())
        caller.core.abandon(stream, Status(.deadlineExceeded, "late"))
        try caller.core.receive(try response(stream))
        caller.core.abandon(stream, Status(.deadlineExceeded, "later"))
        #expect(caller.results.count == 1)
        #expect(throws: ProtocolViolation.self) { try caller.core.receive(try response(stream)) }
    }

    @Test("a closed connection fails what is open and what comes after")
    func closed() {
        let caller = Caller()
        caller.call()
        caller.core.close(Status(.unavailable, "gone"))
        #expect(caller.call() == nil)
        #expect(caller.results == [.failure(Status(.unavailable, "gone")), .failure(Status(.unavailable, "gone"))])
    }

    @Test("a request over 4 MiB is refused before it is sent")
    func tooLarge() {
        let caller = Caller()
        #expect(caller.call(String(repeating: "x", count: Frame.maximumPayload)) == nil)
        #expect(caller.outbox.frames.isEmpty)
    }
}
