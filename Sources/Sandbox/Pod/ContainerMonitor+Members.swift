import AgentAPI
import Glibc
import Linux
import TTRPC

/// A container in this monitor's machine that another monitor owns.
struct Member {
    let id: String
    let shares: [String]
}

// MARK: For other monitors

extension ContainerMonitor {
    /// Why no container can join, if so.
    func refusal(of request: JoinRequest) -> Status? {
        guard machine != nil, record?.status != .stopped, exit == nil, machineOf == nil else { return Status(.failedPrecondition, "container not running") }
        return request.containerID == launch.id ? Status(.alreadyExists, "container \(request.containerID) exists") : nil
    }

    /// Shows the guest what another container needs; its monitor talks to the agent itself.
    func admit(_ request: JoinRequest, _ complete: @escaping (Result<Empty, Status>) -> Void) {
        members += 1
        guard let machine else { return complete(.failure(Status(.failedPrecondition, "container not running"))) }
        var left = request.shares.count
        var failure: Status?
        func finish(_ result: Result<String, SandboxError>) {
            if case .failure(let error) = result, failure == nil { failure = error.status }
            left -= 1
            if left <= 0 { complete(failure.map { .failure($0) } ?? .success(Empty())) }
        }
        if request.shares.isEmpty { return complete(.success(Empty())) }
        for share in request.shares {
            do throws(SystemError) {
                machine.shareLater(share.name, try Descriptor.openPath(share.path), share.mode, finish)
            } catch {
                finish(.failure(SandboxError(.missing(error.errno), "\(share.path): \(error.errno)")))
            }
        }
    }

    /// Ends a container that joined, if it has not ended, and forgets it and what it was shown.
    func dismiss(_ member: Member, _ complete: @escaping () -> Void) {
        members -= 1
        guard let machine, exit == nil else { return complete() }
        let container = ContainerRequest.with { $0.containerID = member.id }
        let whole = ProcessRequest.with { $0.containerID = member.id }
        let kill = SignalRequest.with {
            $0.containerID = member.id
            $0.signal = UInt32(SIGKILL)
            $0.all = true
        }
        machine.callLater(AgentMethods.signal, kill, deadline: AgentConnection.shortDeadline) { _ in
            machine.callLater(AgentMethods.wait, whole, deadline: AgentConnection.shortDeadline) { _ in
                machine.callLater(AgentMethods.deleteContainer, container, deadline: AgentConnection.shortDeadline) { _ in
                    for share in member.shares { machine.unshareLater(share) }
                    complete()
                }
            }
        }
    }
}
