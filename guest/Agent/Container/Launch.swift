import CLinux
import Glibc
import Linux

/// A child on its way to its program: answers its stops and sees it execute or fail.
final class Launch {
    let process: ProgramProcess
    private let registers: ProgramRegisters
    private let loop: EventLoop
    private var timer: EventLoop.Timer?
    private(set) var isOver = false
    /// Called at each stop; ``proceed()`` lets the child go on, ``fail(_:)`` ends it.
    private var onCheckpoint: ((Launch, Checkpoint) -> Void)?
    /// Called once: the program runs (nil), or why it does not.
    private var onEnd: ((Launch, LaunchFailure?) -> Void)?
    private var reason: LaunchFailure?

    /// - Parameter deadline: nanoseconds in which it must reach the program, stops that wait for the host excepted.
    init(
        _ process: ProgramProcess, _ registers: ProgramRegisters, on loop: EventLoop, deadline: UInt64,
        onCheckpoint: @escaping (Launch, Checkpoint) -> Void, onEnd: @escaping (Launch, LaunchFailure?) -> Void
    ) throws(SystemError) {
        self.process = process
        self.registers = registers
        self.loop = loop
        self.onCheckpoint = onCheckpoint
        self.onEnd = onEnd
        try process.control.setNonBlocking()
        // The loop holds it: it lives until the child's end of the socket is closed.
        try loop.add(process.control, .readable) { _ in _ = self.read() }
        startTimer(deadline)
    }

    /// The index a stop is about.
    var subject: Int { process.value(of: registers.subject) ?? -1 }

    /// The child's descriptors a stop is about, as our own.
    func root() throws(SystemError) -> Descriptor { try take(registers.root) }
    func target() throws(SystemError) -> Descriptor { try take(registers.target) }
    func tree() throws(SystemError) -> Descriptor { try take(registers.tree) }
    func terminal() throws(SystemError) -> Descriptor { try take(registers.terminal) }

    func proceed() {
        _ = try? process.control.write([0])
    }

    /// Ends the child, for a reason of the agent's.
    func fail(_ reason: LaunchFailure) {
        guard !isOver else { return }
        if self.reason == nil { self.reason = reason }
        kill()
    }

    func kill() {
        _ = Glibc.kill(process.pid, SIGKILL)
    }

    /// The child waits for the host, which may take its time.
    func suspendDeadline() {
        if let timer { loop.cancel(timer) }
        timer = nil
    }

    func startTimer(_ nanoseconds: UInt64) {
        suspendDeadline()
        timer = loop.schedule(afterNanoseconds: nanoseconds) { [weak self] in
            guard let self else { return }
            self.fail(LaunchFailure(self.process.stage, .timedOut))
        }
    }

    private func take(_ register: SystemCallProgram.Register) throws(SystemError) -> Descriptor {
        try process.pidfd.descriptor(process.value(of: register) ?? -1)
    }

    /// The child has ended: takes what it still said, so that its failure is known before its exit status is told.
    func drain() {
        while !isOver, read() {}
    }

    /// - Returns: whether there may be more.
    @discardableResult
    private func read() -> Bool {
        let bytes: [UInt8]
        do {
            bytes = try process.control.read(upTo: 1)
        } catch where error.errno == .wouldBlock {
            return false
        } catch {
            bytes = []
        }
        if let byte = bytes.first {
            if let checkpoint = Checkpoint(rawValue: byte) { onCheckpoint?(self, checkpoint) }
            return true
        }
        end()
        return false
    }

    private func end() {
        guard !isOver else { return }
        isOver = true
        suspendDeadline()
        loop.remove(process.control)
        let failure = reason ?? process.failure.map { LaunchFailure($0.stage, $0.errno) }
        process.release()
        // Both hold what holds this.
        let told = onEnd
        onCheckpoint = nil
        onEnd = nil
        told?(self, failure)
    }
}
