import AgentAPI
import Glibc
import Linux
import OCI
import TTRPC

/// A snapshot somebody waits for.
struct WantedSnapshot {
    let request: SnapshotRequest
    let complete: (Result<Empty, Status>) -> Void
}

// MARK: Saving

extension ContainerMonitor {
    /// How long output may take to reach its reader before a container is ended that was saved without it.
    private static let deliveryDeadline: UInt64 = 10_000_000_000

    /// Takes the request; it is done where nothing else is under way.
    func snapshot(_ request: SnapshotRequest, _ complete: @escaping (Result<Empty, Status>) -> Void) {
        guard request.containerID == launch.id else { return complete(.failure(Status(.notFound, "container \"\(request.containerID)\" does not exist"))) }
        guard record?.status == .running || record?.status == .paused, exit == nil else {
            return complete(.failure(Status(.failedPrecondition, "container not running")))
        }
        guard machineOf == nil, members == 0 else {
            return complete(.failure(Status(.failedPrecondition, "a virtual machine of several containers cannot be saved")))
        }
        guard wanted == nil else { return complete(.failure(Status(.failedPrecondition, "a snapshot is being made already"))) }
        wanted = WantedSnapshot(request: request, complete: complete)
    }

    func make(_ snapshot: WantedSnapshot) {
        do {
            try save(to: snapshot.request.directory, since: snapshot.request.parent, ending: snapshot.request.stop)
            snapshot.complete(.success(Empty()))
        } catch {
            snapshot.complete(.failure((machine?.waiter.failure ?? error as? SandboxError)?.status ?? Status(.unknown, "\(error)")))
        }
        wanted = nil
    }

    private func save(to path: String, since parent: String, ending: Bool) throws {
        guard let machine else { return }
        let base = try parent.isEmpty ? nil : openBase(parent)
        let place = try SnapshotPlace(path)
        let container = ContainerRequest.with { $0.containerID = guestID }
        do {
            let sent = try machine.call(AgentMethods.holdStreams, container, deadline: AgentConnection.shortDeadline)
            if ending {
                try deliver(sent, machine)
                // For good: what it did to files after this, a restore would find changed.
                try machine.pause()
            }
            try machine.save(to: place.directory, since: base?.directory)
            try description(parent: base?.path)?.write(to: place.directory)
            try place.finish()
        } catch {
            place.abandon()
            if ending { try? machine.resume() }
            machine.callLater(AgentMethods.releaseStreams, container, deadline: AgentConnection.shortDeadline) { _ in }
            throw error
        }
        if ending { return endAsKilled() }
        _ = try machine.call(AgentMethods.releaseStreams, container, deadline: AgentConnection.shortDeadline)
    }

    /// Waits until what the guest has sent has reached its readers: who goes on from the snapshot will not send it again.
    private func deliver(_ sent: HoldStreamsResponse, _ machine: SandboxMachine) throws {
        guard let streams else { return }
        do {
            try machine.waiter.wait("output to be taken", atMost: Self.deliveryDeadline) { streams.hasDelivered([sent.stdout, sent.stderr]) }
        } catch let error as SandboxError where error.kind == .timedOut {
            throw SandboxError(.wrongState, "nobody takes the container's output; it was not ended, and not saved")
        }
    }

    /// What has a parent itself stands for that one: going on never takes more than two.
    private func openBase(_ path: String) throws -> (path: String, directory: Descriptor) {
        let (snapshot, directory) = try SandboxSnapshot.read(path)
        guard let parent = snapshot.parent else { return (path, directory) }
        return (parent, try SandboxSnapshot.read(parent).directory)
    }

    private func description(parent: String?) throws -> SandboxSnapshot? {
        guard let record, let directory, let size = machine?.size else { return nil }
        var options = launch.machine
        options.console = nil
        options.isCold = false
        return SandboxSnapshot(
            id: launch.id, guestID: guestID, cpus: size.cpus, memory: size.memory, extraMemory: machine?.extraMemory ?? 0, machine: options, shares: shares, bundle: record.bundle,
            rootfs: record.rootfs, isPaused: record.status == .paused, parent: parent, config: String(decoding: try directory.configText(), as: UTF8.self),
            created: timestamp(wallClockNanoseconds()))
    }
}

// MARK: Going on

extension ContainerMonitor {
    /// Does for a saved container what create does for a new one.
    func restore(_ path: String, in root: StateRoot) throws {
        begin("parse")
        let (snapshot, saved) = try SandboxSnapshot.read(path)
        let document = try JSON.read(Array(snapshot.config.utf8))
        let spec: Spec = try JSON.decode(from: document)
        hooks = spec.hooks ?? Hooks()
        guestID = snapshot.guestID
        let terminal = spec.process?.terminal ?? false
        try checkConsole(terminal)
        let size = try MachineSize(cpus: snapshot.cpus, memory: snapshot.memory, softwareKVM: launch.machine.softwareKVM ?? false)
        let whole = snapshot.memory + snapshot.extraMemory
        let directory = try prepare(
            spec, document, bundle: launch.bundle.isEmpty ? snapshot.bundle : launch.bundle, rootfs: snapshot.rootfs, memory: whole, snapshot.shares, in: root)
        let machine = try machineStarter(directory).start(
            size, seenByHooks(snapshot.shares), from: saved, base: snapshot.openParent(), extraMemory: snapshot.extraMemory)
        try standIn?.waitUntilReady(machine.waiter)
        try limitTime()
        let streams = try openStreams(machine, terminal)
        try runCreateHooks()
        try connectNetwork(machine)
        begin("attach")
        let request = AttachStreamsRequest.with {
            $0.containerID = guestID
            $0.streams = streams
        }
        _ = try machine.call(AgentMethods.attachStreams, request)
        if terminal { resize() }
        try serve(snapshot.isPaused ? .paused : .running, machine, directory)
    }
}
