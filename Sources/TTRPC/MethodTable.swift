public import SwiftProtobuf

/// What a server can answer: methods by service and name.
public struct MethodTable {
    /// The answer to one call, given now or later, once.
    public final class Reply<Response: Message> {
        private let responder: Responder

        fileprivate init(_ responder: Responder) {
            self.responder = responder
        }

        public func succeed(_ response: Response) {
            do {
                responder.answer(.success(try response.serializedBytes()))
            } catch {
                responder.answer(.failure(Status(.internal, "response cannot be encoded: \(error)")))
            }
        }

        public func fail(_ status: Status) {
            responder.answer(.failure(status))
        }
    }

    typealias Handler = (_ payload: [UInt8], _ responder: Responder) -> Void

    private var handlers: [String: [String: Handler]] = [:]

    public init() {}

    /// Answers `method` with `handler`, which may keep the reply for later. A reply that is dropped fails the call.
    public mutating func on<Request, Response>(
        _ method: Method<Request, Response>, _ handler: @escaping (Request, Reply<Response>) -> Void
    ) {
        handlers[method.service, default: [:]][method.name] = { payload, responder in
            do {
                handler(try Request(serializedBytes: payload), Reply(responder))
            } catch {
                responder.answer(.failure(Status(.invalidArgument, "\(method.name): request cannot be decoded")))
            }
        }
    }

    /// Answers `method` at once with what `handler` returns. A thrown ``Status`` is sent as it is.
    public mutating func answer<Request, Response>(
        _ method: Method<Request, Response>, _ handler: @escaping (Request) throws -> Response
    ) {
        on(method) { request, reply in
            do {
                reply.succeed(try handler(request))
            } catch let status as Status {
                reply.fail(status)
            } catch {
                reply.fail(Status(.unknown, "\(error)"))
            }
        }
    }

    func handler(service: String, method: String) throws(Status) -> Handler {
        guard let methods = handlers[service] else { throw Status(.unimplemented, "service \(service)") }
        guard let handler = methods[method] else { throw Status(.unimplemented, "method \(method)") }
        return handler
    }
}

/// One call a server owes an answer to.
final class Responder {
    private var send: ((Result<[UInt8], Status>) -> Void)?

    init(_ send: @escaping (Result<[UInt8], Status>) -> Void) {
        self.send = send
    }

    /// Only the first answer counts.
    func answer(_ result: Result<[UInt8], Status>) {
        send?(result)
        send = nil
    }

    deinit {
        answer(.failure(Status(.internal, "the call was dropped")))
    }
}
