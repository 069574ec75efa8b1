import Glibc
import Linux
import TTRPC

/// A process of the guest that is one of the host.
final class FakeProcess {
    private let arguments: [String]
    private let environment: [String]
    private var passed: [Descriptor]
    private var streams: [Descriptor?]
    private var child: ChildProcess?
    private var status: UInt32?
    private var waiting: [(UInt32) -> Void] = []

    init(_ arguments: [String], _ environment: [String], passed: [Descriptor], _ streams: [Descriptor?]) {
        self.arguments = arguments
        self.environment = environment
        self.passed = passed
        self.streams = streams
    }

    func start(on loop: EventLoop) throws {
        var options = ChildProcess.Options()
        options.environment = environment
        options.standardInput = streams[0]
        options.standardOutput = streams[1]
        options.standardError = streams[2]
        options.inherited = passed
        options.diesWithParent = true
        let child: ChildProcess
        do throws(SystemError) { child = try ChildProcess(arguments[0], arguments, options) } catch {
            let code: Status.Code = error.errno == .noSuchFileOrDirectory ? .notFound : .permissionDenied
            throw Status(code, "exec: \"\(arguments[0])\": \(error.errno)")
        }
        // The streams end with the process.
        streams = []
        passed = []
        options = ChildProcess.Options()
        self.child = child
        try loop.add(child.pidfd, .readable) { [weak self] _ in
            loop.remove(child.pidfd)
            switch child.reap() {
            case .exited(let code): self?.end(UInt32(code))
            case .signalled(let signal): self?.end(128 + UInt32(signal))
            case nil: self?.end(255)
            }
        }
    }

    /// - Returns: whether there was a process to take it.
    func send(_ signal: Int32) -> Bool {
        if let child, status == nil { return kill(child.pid, signal) == 0 }
        guard child == nil, status == nil else { return false }
        // Created, and never started.
        if signal == SIGKILL || signal == SIGTERM {
            streams = []
            end(128 + UInt32(signal))
        }
        return true
    }

    func onEnd(_ body: @escaping (UInt32) -> Void) {
        if let status { body(status) } else { waiting.append(body) }
    }

    private func end(_ status: UInt32) {
        self.status = status
        for body in waiting { body(status) }
        waiting = []
    }
}
