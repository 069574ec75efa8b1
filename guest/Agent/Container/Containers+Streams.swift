import AgentAPI
import Glibc
import TTRPC

/// The streams of a container whose machine is saved, or goes on elsewhere.
extension Containers {
    func holdStreams(_ id: String) throws -> HoldStreamsResponse {
        let counts = try find(id).main.streams.hold()
        return .with {
            $0.stdout = counts.output
            $0.stderr = counts.errors
        }
    }

    func releaseStreams(_ id: String) throws {
        try find(id).main.streams.release()
    }

    /// Whoever had executed processes here is not where this machine goes on: they end, as when a host's command goes away.
    func attachStreams(_ request: AttachStreamsRequest, _ complete: @escaping Answer<Void>) {
        claim(request.streams) { [weak self] sockets in
            guard let self else { return }
            do {
                let container = try self.find(request.containerID)
                for exec in container.execs { try? exec.send(SIGKILL) }
                try container.main.streams.attach(request.streams, sockets.get())
                complete(.success(()))
            } catch {
                complete(.failure(Self.status(error)))
            }
        }
    }
}
