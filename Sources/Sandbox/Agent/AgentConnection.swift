import AgentAPI
import Linux
import TTRPC

/// The guest's agent: calls with deadlines, and streams. What it answers is not trusted: ``TTRPC/Client`` bounds it.
final class AgentConnection {
    /// For calls that only look or set something.
    static let shortDeadline: UInt64 = 10_000_000_000
    /// For calls that start programs, mount file systems or wait for the kernel. Software KVM takes its time.
    static let longDeadline: UInt64 = 60_000_000_000

    /// As much as the kernel's generator holds.
    private static let seedSize = 64

    private let client: Client
    private(set) var information = ConnectResponse()

    /// Called once when the agent is gone by itself: why.
    var onLost: ((String) -> Void)?

    /// - Parameter nextStream: of a connection that was given up by ``handOver()``.
    init(_ socket: Descriptor, on loop: EventLoop, nextStream: UInt32 = 1) throws(SystemError) {
        client = try Client(socket, on: loop, nextStream: nextStream)
        client.onClose = { [weak self] error in self?.onLost?(error.map { "\($0)" } ?? "it closed the connection") }
    }

    func call<Request, Response>(
        _ method: Method<Request, Response>, _ request: Request, deadline: UInt64?, _ complete: @escaping (Result<Response, Status>) -> Void
    ) {
        client.call(method, request, deadline: deadline, complete)
    }

    /// The first call: both sides must share a protocol version.
    func shakeHands(build: String, _ complete: @escaping (Result<Void, Status>) -> Void) {
        let request = ConnectRequest.with {
            $0.minVersion = AgentProtocol.minimum
            $0.maxVersion = AgentProtocol.maximum
            $0.hostBuild = build
        }
        call(AgentMethods.connect, request, deadline: Self.longDeadline) { [weak self] result in
            complete(result.flatMap { response in
                guard (AgentProtocol.minimum...AgentProtocol.maximum).contains(response.version) else {
                    return .failure(Status(.failedPrecondition, "it speaks version \(response.version) of the protocol"))
                }
                self?.information = response
                return .success(())
            })
        }
    }

    /// Nothing may run in the machine before the answer.
    func renew(hostName: String, cpus: Int, _ complete: @escaping (Result<Empty, Status>) -> Void) throws(SystemError) {
        let seed = try randomBytes(Self.seedSize)
        let request = RenewRequest.with {
            $0.seed = .init(seed)
            $0.hostname = hostName
            $0.cpus = UInt32(clamping: cpus)
            $0.nanosecondsSinceEpoch = Int64(clamping: wallClockNanoseconds())
        }
        call(AgentMethods.renew, request, deadline: Self.longDeadline, complete)
    }

    /// Gives the connection up for another process to go on with; nil while an answer is to come.
    func handOver() -> (socket: Descriptor, nextStream: UInt32)? { client.handOver() }

    /// Says that no more calls come; the agent closes the connection then.
    func finish() throws(SystemError) {
        try client.finish()
    }

    func close() {
        client.close()
    }
}
