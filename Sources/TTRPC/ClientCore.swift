import SwiftProtobuf

/// A peer that broke the protocol; the connection cannot be used any more.
public struct ProtocolViolation: Error, Equatable, Sendable, CustomStringConvertible {
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// The client's side of one connection, without a socket. The peer is not trusted.
public final class ClientCore {
    private struct Call {
        let responseLimit: Int
        /// Nil once the caller gave up: the answer may still come.
        var complete: ((Result<[UInt8], Status>) -> Void)?
    }

    /// Abandoned calls the peer may leave unanswered.
    private static let maximumAbandoned = 1024

    private let send: ([UInt8]) -> Void
    private var decoder = FrameDecoder()
    /// The next call's id.
    private(set) var nextStream: UInt32
    private var calls: [UInt32: Call] = [:]
    private var failure: Status?

    /// `send` is given the bytes of whole frames, in the order they must reach the peer.
    public init(nextStream: UInt32 = 1, send: @escaping ([UInt8]) -> Void) {
        self.nextStream = nextStream
        self.send = send
    }

    /// No answer is to come.
    var isIdle: Bool { calls.isEmpty }

    /// Sends a request; `complete` is called once, from ``receive(_:)``, ``abandon(_:_:)`` or ``close(_:)``.
    ///
    /// - Parameter timeout: told to the server, which may use it; in nanoseconds, 0: none.
    /// - Returns: the call's stream id, nil when it has already failed.
    @discardableResult
    public func call<Request, Response>(
        _ method: Method<Request, Response>, _ request: Request, timeout: UInt64 = 0,
        _ complete: @escaping (Result<Response, Status>) -> Void
    ) -> UInt32? {
        if let failure {
            complete(.failure(failure))
            return nil
        }
        let stream = nextStream
        let frame: [UInt8]
        do { frame = Frame(stream: stream, kind: .request, payload: try encode(method, request, timeout)).encoded } catch {
            complete(.failure(error))
            return nil
        }
        // 2³¹ calls on one connection are not reached in a sandbox's life; wrapping would reuse ids.
        nextStream &+= 2
        calls[stream] = Call(responseLimit: method.responseLimit) { result in
            complete(result.flatMap { Self.decode(method, $0) })
        }
        // Last: sending may find the connection gone, which fails every call there is.
        send(frame)
        return calls[stream] == nil ? nil : stream
    }

    /// Fails a call now; its answer is dropped when it comes.
    public func abandon(_ stream: UInt32, _ status: Status) {
        guard let complete = calls[stream]?.complete else { return }
        calls[stream]?.complete = nil
        complete(.failure(status))
    }

    /// - Throws: when the peer answers what was not asked, or too much; close the connection then.
    public func receive(_ bytes: [UInt8]) throws(ProtocolViolation) {
        decoder.feed(bytes)
        while let event = decoder.next() {
            switch event {
            case .frame(let frame) where frame.kind == .response:
                try handle(frame)
            case .frame(let frame):
                throw ProtocolViolation("frame of type \(frame.type) where only responses are expected")
            case .oversize(_, _, let length):
                throw ProtocolViolation("message of \(length) bytes, \(Frame.maximumPayload) at most")
            }
        }
        guard calls.values.count(where: { $0.complete == nil }) <= Self.maximumAbandoned else {
            throw ProtocolViolation("\(Self.maximumAbandoned) calls were never answered")
        }
    }

    /// Fails every call, now and from now on.
    public func close(_ status: Status) {
        guard failure == nil else { return }
        failure = status
        let open = calls.sorted { $0.key < $1.key }
        calls = [:]
        for (_, call) in open { call.complete?(.failure(status)) }
    }

    private func handle(_ frame: Frame) throws(ProtocolViolation) {
        guard let call = calls.removeValue(forKey: frame.stream) else {
            throw ProtocolViolation("response to stream \(frame.stream), which is not open")
        }
        guard frame.payload.count <= call.responseLimit + Status.maximumMessage else {
            throw ProtocolViolation("response of \(frame.payload.count) bytes, \(call.responseLimit) at most")
        }
        guard let response = try? EnvelopeResponse(serializedBytes: frame.payload) else {
            throw ProtocolViolation("response cannot be decoded")
        }
        if response.hasStatus, response.status.code != 0 {
            call.complete?(.failure(Status(response.status)))
        } else {
            call.complete?(.success(Array(response.payload)))
        }
    }

    private func encode<Request, Response>(
        _ method: Method<Request, Response>, _ request: Request, _ timeout: UInt64
    ) throws(Status) -> [UInt8] {
        let bytes: [UInt8]
        do {
            let payload: [UInt8] = try request.serializedBytes()
            bytes = try EnvelopeRequest.with {
                $0.service = method.service
                $0.method = method.name
                $0.payload = .init(payload)
                $0.timeoutNano = Int64(clamping: timeout)
            }.serializedBytes()
        } catch {
            throw Status(.invalidArgument, "\(method.name): request cannot be encoded: \(error)")
        }
        guard bytes.count <= Frame.maximumPayload else {
            throw Status(.resourceExhausted, "\(method.name): request of \(bytes.count) bytes, \(Frame.maximumPayload) at most")
        }
        return bytes
    }

    private static func decode<Request, Response>(
        _ method: Method<Request, Response>, _ payload: [UInt8]
    ) -> Result<Response, Status> {
        var options = BinaryDecodingOptions()
        options.discardUnknownFields = true
        do {
            return .success(try Response(serializedBytes: payload, options: options))
        } catch {
            return .failure(Status(.dataLoss, "\(method.name): response cannot be decoded"))
        }
    }
}
