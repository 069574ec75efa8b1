import Glibc
import Linux
public import OCI

/// Runs OCI hooks on the host, one after the other, each with the container's state on its standard input.
public struct HookRunner {
    /// For a hook that names no time-out of its own.
    private static let defaultTimeout = 300
    private static let errorLimit = 1024

    private let loop: EventLoop
    private let place: Place

    /// Where hooks run; by default where this process is.
    struct Place {
        /// A process, by pidfd, whose namespaces they join: `CLONE_NEW*`.
        var joined: (process: Descriptor, namespaces: Int32)?
        var directory: String?
    }

    /// Whether a createContainer hook is a program of this host's; others are the guest's.
    static func isOfHost(_ hook: Hook) -> Bool { isExecutable(hook.path) }

    public init() throws(SystemError) { try self.init(in: Place()) }

    init(in place: Place) throws(SystemError) {
        self.place = place
        // A loop of its own: nothing else is served while a hook runs.
        loop = try EventLoop()
    }

    /// - Throws: at the first hook that fails; later ones do not run.
    public func run(_ stage: String, _ hooks: [Hook], _ state: State) throws {
        guard !hooks.isEmpty else { return }
        let text = try JSON.encode(state)
        for (index, hook) in hooks.enumerated() {
            do { try run(hook, text) } catch { throw SandboxError(.hookFailed, "error running hook hooks.\(stage)[\(index)] \(hook.path): \(error)") }
        }
    }

    /// Runs them all, whatever becomes of each: a container that has stopped goes in any case (runtime.md, Lifecycle).
    ///
    /// - Parameter warn: told of those that fail.
    public func runAll(_ stage: String, _ hooks: [Hook], _ state: State, warn: (String) -> Void) {
        guard !hooks.isEmpty else { return }
        for (index, hook) in hooks.enumerated() {
            do { try run(hook, JSON.encode(state)) } catch { warn("error running hook hooks.\(stage)[\(index)] \(hook.path): \(error)") }
        }
    }

    private func run(_ hook: Hook, _ state: String) throws {
        let (errors, errorsWriting) = try Descriptor.pipe()
        var options = ChildProcess.Options()
        options.environment = try hook.env ?? ownEnvironment()
        options.standardInput = try input(state)
        options.standardError = errorsWriting
        options.joined = place.joined
        options.directory = place.directory
        let child = try ChildProcess(hook.path, hook.args.isEmpty ? [hook.path] : hook.args, options)
        try finish(child, errors, timeout: hook.timeout ?? Self.defaultTimeout)
    }

    /// A file in memory: a hook need not read it, and any length fits.
    private func input(_ text: String) throws(SystemError) -> Descriptor {
        let file = try makeMemoryFile("hook-state", count: 0)
        try file.writeAll(text)
        return try file.reopened(O_RDONLY)
    }

    private func finish(_ child: ChildProcess, _ errors: Descriptor, timeout: Int) throws {
        var expired = false
        let timer = loop.schedule(afterNanoseconds: UInt64(clamping: timeout) &* 1_000_000_000) { expired = true }
        defer { loop.removeAll() }
        var ended = false
        var text: [UInt8] = []
        try errors.setNonBlocking()
        try loop.add(child.pidfd, .readable) { _ in ended = true }
        try loop.add(errors, .readable) { _ in
            guard let bytes = try? errors.read(upTo: 4096), !bytes.isEmpty else { return loop.remove(errors) }
            text += bytes.prefix(max(0, Self.errorLimit - text.count))
        }
        while !ended, !expired { try loop.runOnce() }
        loop.cancel(timer)
        if !ended { child.killGroup() }
        guard ended else { throw SandboxError(.timedOut, "did not end in \(timeout) s") }
        if let rest = try? errors.read(upTo: Self.errorLimit) { text += rest }
        let said = String(decoding: text, as: UTF8.self).split(whereSeparator: \.isNewline).joined(separator: " ")
        switch child.reap() {
        case .exited(0): return
        case .exited(let status): throw SandboxError(.hookFailed, "exit status \(status)\(said.isEmpty ? "" : ": \(said)")")
        case .signalled(let signal): throw SandboxError(.hookFailed, signalText(signal))
        case nil: throw SandboxError(.hookFailed, "gone")
        }
    }
}
