import AgentAPI
import Glibc
import Linux
public import SwiftProtobuf
public import TTRPC

/// A connection to a container's monitor, for the commands that act on a container somebody else runs.
public final class ControlClient {
    /// The monitor answers at once; what it asks the guest has deadlines below this one.
    public static let deadline: UInt64 = 90_000_000_000

    public let directory: StateDirectory
    public let waiter: Waiter
    private let client: Client

    /// - Throws: ``SandboxError/Kind/wrongState`` when the container has no monitor any more, or not yet one that listens.
    public init(_ directory: StateDirectory) throws {
        ignoreBrokenPipes()
        self.directory = directory
        guard try directory.hasMonitor() else { throw SandboxError(.wrongState, "container not running") }
        let socket: Descriptor
        do throws(SystemError) {
            socket = try Descriptor.connected(to: .unix(directory.socketPath(ControlService.socketName)))
        } catch {
            throw SandboxError(.wrongState, "container \"\(directory.id)\" is being created or has just ended")
        }
        let waiter = Waiter(try EventLoop())
        self.waiter = waiter
        client = try Client(socket, on: waiter.loop)
        client.onClose = { _ in waiter.fail(SandboxError(.monitorEnded, "the container's monitor has ended")) }
    }

    /// Asks and waits for the answer.
    ///
    /// - Parameter deadline: nanoseconds; nil: as long as the monitor lives.
    public func call<Request: Message, Response: Message>(
        _ method: Method<Request, Response>, _ request: Request, deadline: UInt64? = ControlClient.deadline
    ) throws -> Response {
        var answer: Result<Response, Status>?
        callLater(method, request, deadline: deadline) { answer = $0 }
        while answer == nil { try waiter.loop.runOnce() }
        switch answer {
        case .success(let response): return response
        case .failure(let status): throw SandboxError(status)
        case nil: throw SandboxError(.monitorEnded, "the container's monitor has ended")
        }
    }

    /// Asks; `complete` is called once, from the loop.
    public func callLater<Request: Message, Response: Message>(
        _ method: Method<Request, Response>, _ request: Request, deadline: UInt64?, _ complete: @escaping (Result<Response, Status>) -> Void
    ) {
        client.call(method, request, deadline: deadline, complete)
    }
}

extension SandboxError {
    /// What a guest's agent, or a monitor that passes it on, answered.
    init(_ status: Status) {
        switch status.code {
        case .notFound: self.init(.notFound, status.description)
        case .permissionDenied: self.init(.notExecutable, status.description)
        case .failedPrecondition: self.init(.wrongState, status.description)
        case .aborted: self.init(.refused, status.description)
        case .deadlineExceeded: self.init(.timedOut, status.description)
        case .unavailable, .dataLoss, .cancelled: self.init(.agentLost, "the guest's agent: \(status)")
        case .invalidArgument, .outOfRange, .unimplemented: self.init(.badInput, status.description)
        default: self.init(.guest, status.description)
        }
    }

    /// For a caller on the other side of a control socket.
    var status: Status {
        let code: Status.Code =
            switch kind {
            case .notFound: .notFound
            case .notExecutable: .permissionDenied
            case .wrongState: .failedPrecondition
            case .timedOut: .deadlineExceeded
            case .badInput: .invalidArgument
            case .agentLost: .unavailable
            case .refused: .aborted
            default: .unknown
            }
        return Status(code, description)
    }
}
