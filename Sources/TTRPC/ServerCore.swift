import SwiftProtobuf

/// The server's side of one connection, without a socket: bytes in, bytes out.
///
/// Calls run concurrently in that their replies may come in any order; handlers are called on the
/// thread that feeds the bytes.
public final class ServerCore {
    /// Calls that may be unanswered at a time; further ones are refused.
    public static let maximumOutstanding = 1024

    private let methods: MethodTable
    private let send: ([UInt8]) -> Void
    private var decoder = FrameDecoder()
    private var lastStream: UInt32 = 0
    /// Calls whose reply is still owed.
    public private(set) var outstanding = 0

    /// `send` is given the bytes of whole frames, in the order they must reach the peer.
    public init(_ methods: MethodTable, send: @escaping ([UInt8]) -> Void) {
        self.methods = methods
        self.send = send
    }

    public func receive(_ bytes: [UInt8]) {
        decoder.feed(bytes)
        while let event = decoder.next() {
            switch event {
            case .frame(let frame) where frame.kind == .request:
                handle(frame)
            case .oversize(let stream, Frame.Kind.request.rawValue, let length):
                refuse(stream, Status(.resourceExhausted, "message of \(length) bytes, \(Frame.maximumPayload) at most"))
            case .frame, .oversize:
                break
            }
        }
    }

    private func handle(_ frame: Frame) {
        do throws(Status) {
            try accept(frame.stream)
            guard let request = try? EnvelopeRequest(serializedBytes: frame.payload) else {
                throw Status(.invalidArgument, "request cannot be decoded")
            }
            let handler = try methods.handler(service: request.service, method: request.method)
            outstanding += 1
            handler(Array(request.payload), Responder { [weak self] in self?.reply(frame.stream, $0) })
        } catch {
            refuse(frame.stream, error)
        }
    }

    private func accept(_ stream: UInt32) throws(Status) {
        guard stream % 2 == 1 else { throw Status(.invalidArgument, "stream id \(stream) is even") }
        guard stream > lastStream else { throw Status(.invalidArgument, "stream id \(stream) cannot be used again") }
        lastStream = stream
        guard outstanding < Self.maximumOutstanding else {
            throw Status(.resourceExhausted, "\(outstanding) calls are waiting for an answer")
        }
    }

    private func reply(_ stream: UInt32, _ result: Result<[UInt8], Status>) {
        outstanding -= 1
        switch result {
        case .success(let payload):
            let envelope = EnvelopeResponse.with { $0.payload = .init(payload) }
            guard let bytes: [UInt8] = try? envelope.serializedBytes(), bytes.count <= Frame.maximumPayload else {
                return refuse(stream, Status(.resourceExhausted, "response of \(payload.count) bytes"))
            }
            send(Frame(stream: stream, kind: .response, payload: bytes).encoded)
        case .failure(let status):
            refuse(stream, status)
        }
    }

    private func refuse(_ stream: UInt32, _ status: Status) {
        let envelope = EnvelopeResponse.with { $0.status = status.envelope }
        let payload: [UInt8] = (try? envelope.serializedBytes()) ?? []
        send(Frame(stream: stream, kind: .response, payload: payload).encoded)
    }
}
