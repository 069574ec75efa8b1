import AgentAPI
import CLinux
import Glibc
import Linux
import OCI
import TTRPC

/// Every container of this machine, by id: the states of the runtime-spec and what leads from one to the next.
final class Containers {
    /// From a start to the program.
    static let startDeadline: UInt64 = 60_000_000_000

    let context: AgentContext
    private let streamPatience: UInt64
    private var containers: [String: Container] = [:]
    /// Ids that are being made or removed.
    private var reserved: Set<String> = []

    typealias Answer<Value> = (Result<Value, Status>) -> Void

    init(_ context: AgentContext, streamPatience: UInt64) {
        self.context = context
        self.streamPatience = streamPatience
    }

    var all: [Container] { Array(containers.values) }

    /// - Parameter code: `notFound` means the program where one is started, so there it is `failedPrecondition`.
    func find(_ id: String, otherwise code: Status.Code = .notFound) throws(Status) -> Container {
        guard let container = containers[id] else { throw Status(code, "container \(id) does not exist") }
        return container
    }

    private static let descriptorLimit: UInt32 = 1024

    func claim(_ streams: Streams, _ complete: @escaping Answer<[UInt64: Descriptor]>) {
        let ids = ([streams.stdin, streams.stdout, streams.stderr] + streams.passed.compactMap(\.streamID)).filter { $0 != 0 }
        let numbers = streams.passed.map(\.number)
        guard numbers.allSatisfy({ (3..<Self.descriptorLimit).contains($0) }), Set(numbers).count == numbers.count else {
            return complete(.failure(Status(.invalidArgument, "passed descriptors: numbers \(numbers)")))
        }
        guard Set(ids).count == ids.count else { return complete(.failure(Status(.invalidArgument, "one stream is named twice"))) }
        context.streams.claim(ids, within: streamPatience, complete)
    }

    // MARK: Create

    func create(_ request: CreateContainerRequest, _ complete: @escaping Answer<UInt32>) {
        let id = request.containerID
        guard Self.isValid(id) else { return complete(.failure(Status(.invalidArgument, "\"\(id)\" is no container id"))) }
        guard containers[id] == nil, reserved.insert(id).inserted else {
            return complete(.failure(Status(.alreadyExists, "container \(id) exists")))
        }
        let done: Answer<UInt32> = { [weak self] in
            self?.reserved.remove(id)
            complete($0)
        }
        let spec: Spec
        do {
            spec = try JSON.decode(from: Array(request.spec))
        } catch {
            return done(.failure(Status(.invalidArgument, "config.json: \(error)")))
        }
        claim(request.streams) { [weak self] in self?.create(id, spec, request.streams, $0, done) }
    }

    /// Makes ahead of time what a container of this spec takes long to make.
    func prepare(_ request: CreateContainerRequest) throws {
        let spec: Spec
        do { spec = try JSON.decode(from: Array(request.spec)) } catch { throw Status(.invalidArgument, "config.json: \(error)") }
        context.spares.make(for: spec)
        context.cgroups.makeSpares(DeviceFilter.program(spec.linux?.resources?.devices ?? []))
    }

    private func create(
        _ id: String, _ spec: Spec, _ streams: Streams, _ sockets: Result<[UInt64: Descriptor], Status>, _ complete: @escaping Answer<UInt32>
    ) {
        do {
            let creation = try Creation(id: id, spec: spec, context) { [weak self] result in
                if case .success(let container) = result { self?.containers[id] = container }
                complete(result.map { UInt32(bitPattern: $0.main.pid) })
            }
            try creation.begin(streams, sockets.get())
        } catch {
            complete(.failure(Self.status(error)))
        }
    }

    /// A name for a cgroup: no path, nothing hidden.
    static func isValid(_ id: String) -> Bool {
        let bytes = id.utf8
        return (1...255).contains(bytes.count) && !id.hasPrefix(".")
            && bytes.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "/") }
    }

    static func status(_ error: any Error) -> Status {
        switch error {
        case let status as Status: status
        case let field as InvalidField: Status(.invalidArgument, "\(field)")
        case let error as SystemError: Status(error.errno == .fileExists ? .alreadyExists : .invalidArgument, "\(error)")
        default: Status(.unknown, "\(error)")
        }
    }

    // MARK: Start

    func start(_ id: String, _ complete: @escaping Answer<Void>) {
        do throws(Status) {
            let container = try find(id, otherwise: .failedPrecondition)
            guard container.state == .created else {
                let what = container.state == .stopped ? "cannot start a container that has stopped" : "container \(id) is already running"
                throw Status(.failedPrecondition, what)
            }
            container.change(to: .starting)
            container.onLaunched = { failure in
                complete(failure.map { .failure($0.status(container.process)) } ?? .success(()))
            }
            runStartHooks(container)
        } catch {
            complete(.failure(error))
        }
    }

    private func runStartHooks(_ container: Container) {
        HookRun.run(
            container.spec.hooks?.startContainer ?? [], "startContainer", in: container.target,
            pidNamespace: container.has(.pid) ? container.main.pidfd : nil, filter: container.filter, state: container.ociState(.created), context
        ) { failure in
            if let failure { return container.launch.fail(failure) }
            container.launch.startTimer(Self.startDeadline)
            container.launch.proceed()
        }
    }

    // MARK: Delete

    func delete(_ id: String, _ complete: @escaping Answer<Void>) {
        do throws(Status) {
            let container = try find(id)
            guard container.state == .stopped else { throw Status(.failedPrecondition, "container \(id) is not stopped") }
            guard reserved.insert(id).inserted else { throw Status(.failedPrecondition, "container \(id) is being deleted") }
            // What init left in a cgroup shared with nobody: processes of a container without a PID namespace.
            try? container.cgroup.kill()
            context.remove(container.cgroup) { [weak self] error in
                self?.reserved.remove(id)
                if let error { return complete(.failure(Status(.unavailable, "remove cgroup: \(error)"))) }
                self?.forget(container)
                complete(.success(()))
            }
        } catch {
            complete(.failure(error))
        }
    }

    private func forget(_ container: Container) {
        containers[container.id] = nil
        container.releaseMounts()
        container.main.streams.close()
        for exec in container.execs { exec.streams.close() }
    }
}

extension PassedDescriptor {
    /// Of the connection that carries it.
    var streamID: UInt64? {
        switch source {
        case .reading(let id), .writing(let id), .socket(let id): id
        case .device, nil: nil
        }
    }
}
