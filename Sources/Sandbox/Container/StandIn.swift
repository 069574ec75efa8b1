import Glibc
import Linux
import OCI

/// The process that stands for a container on its host: its id is what engines are told, signals sent to it are the
/// container's, and it ends with the container's status. It is in the container's cgroup and in the host's namespaces
/// of its spec, where the monitor, which needs the host, is not.
///
/// This is the monitor's view of it; ``StandInProcess`` is what it does.
final class StandIn {
    private static let deadline: UInt64 = 30_000_000_000
    private static let endDeadline: UInt64 = 2_000_000_000
    private static let messageLimit = 4096

    let pid: Int32
    private let child: ChildProcess
    private let channel: Descriptor
    private let loop: EventLoop
    private let namespaces: StandInNamespaces
    private var answer: Result<Void, SandboxError>?
    /// Called with each signal it gets.
    var onSignal: ((Int32) -> Void)?
    /// Called when it has ended without being asked to: it was killed.
    var onEnd: (() -> Void)?

    /// Starts it; ``enter(_:)`` is next.
    ///
    /// - Parameter outlivesCaller: whoever adopts this process adopts it too, and can wait for it.
    init(_ namespaces: StandInNamespaces, outlivesCaller: Bool, on loop: EventLoop) throws {
        self.namespaces = namespaces
        self.loop = loop
        let (ours, theirs) = try Descriptor.messageSocketPair()
        channel = ours
        var options = ChildProcess.Options()
        options.inherited = [theirs]
        options.namespaces = namespaces.flagsAtBirth
        options.isSibling = outlivesCaller
        let arguments = StandInProcess.arguments(theirs)
        child = try Self.within(namespaces.pidNamespace()) { try ChildProcess(executablePath(), arguments, options) }
        pid = child.pid
        try channel.setNonBlocking()
        try loop.add(channel, .readable) { [weak self] _ in self?.receive() }
        try loop.add(child.pidfd, .readable) { [weak self] _ in self?.ended() }
    }

    deinit {
        for descriptor in [channel, child.pidfd] { loop.remove(descriptor) }
    }

    /// Children of this process are born in the PID namespace its thread has set for them.
    private static func within(_ namespace: Descriptor?, _ make: () throws -> ChildProcess) throws -> ChildProcess {
        guard let namespace else { return try make() }
        let own = try Descriptor.open("/proc/self/ns/pid", O_RDONLY)
        do throws(SystemError) { try Linux.enter(namespace, NamespaceFlag.pid) } catch {
            throw SandboxError(.badInput, "linux.namespaces: pid: \(error.errno)")
        }
        defer { try? Linux.enter(own, NamespaceFlag.pid) }
        return try make()
    }

    /// Moves it into its namespaces; once it is in its cgroup.
    func enter() throws {
        try channel.send(Array(JSON.encode(namespaces).utf8))
    }

    /// Waits until it is there.
    func waitUntilReady(_ waiter: Waiter) throws {
        try waiter.wait("the container's process on this host", atMost: Self.deadline) { answer != nil }
        try answer?.get()
    }

    /// Whether what is mounted in its namespace is not this process's.
    var hasOwnMounts: Bool { namespaces.new.contains(.mount) }

    /// Where what is to run beside it joins it.
    var joinable: (process: Descriptor, namespaces: Int32) { (child.pidfd, namespaces.flagsToJoin) }

    /// Ends it as the container ended.
    func end(_ status: Int32) {
        onEnd = nil
        onSignal = nil
        try? channel.send(Array("exit \(status)".utf8))
        if (try? child.pidfd.waitReadable(atMost: Self.endDeadline)) != true { child.kill() }
    }

    private func receive() {
        do throws(SystemError) {
            let message = try channel.receive(limit: Self.messageLimit).bytes
            if message.isEmpty { return loop.remove(channel) }
            handle(String(decoding: message, as: UTF8.self))
        } catch {
            if error.errno != .wouldBlock { loop.remove(channel) }
        }
    }

    private func handle(_ message: String) {
        let words = message.split(separator: " ", maxSplits: 1)
        switch words.first {
        case "ready":
            do {
                try namespaces.writeMaps(pid)
                answer = .success(())
            } catch { answer = .failure(error as? SandboxError ?? SandboxError(.badInput, "\(error)")) }
        case "error": answer = .failure(SandboxError(.badInput, words.count > 1 ? String(words[1]) : "linux.namespaces"))
        case "signal": if words.count > 1, let signal = Int32(words[1]) { onSignal?(signal) }
        default: break
        }
    }

    private func ended() {
        loop.remove(child.pidfd)
        if answer == nil { answer = .failure(SandboxError(.interrupted(SIGKILL), "the container's process on this host was killed")) }
        onEnd?()
        onEnd = nil
    }
}
