import Glibc
import KVM
import Linux
import Synchronization
import Virtio

@testable import Machine

/// A hand-written kernel on a machine that can be saved, and machines restored from it.
final class SnapshotMachine: Sendable {
    let machine: Machine
    let printed = Printed()
    private let ended = Mutex<EndReason?>(nil)
    private let thread = Mutex<Thread?>(nil)

    final class Printed: Sendable {
        private let content = Mutex<[UInt8]>([])
        var bytes: [UInt8] { content.withLock { $0 } }
        func append(_ byte: UInt8) { content.withLock { $0.append(byte) } }
    }

    /// The kvm_pvm module, or anything else without hardware virtualisation behind it.
    static var softwareKVM: Bool { access("/sys/module/kvm_pvm", F_OK) == 0 }

    static func configuration(_ code: [UInt8], cpus: Int = 1, memory: Int = 64 << 20) throws -> MachineConfiguration {
        MachineConfiguration(
            cpus: cpus, memory: memory, kernel: try TestKernel(code).file(), image: nil, commandLine: "", softwareKVM: softwareKVM)
    }

    init(_ configuration: MachineConfiguration, devices: @escaping () throws -> [any VirtioDevice] = { [] }) throws {
        machine = try Machine(configuration, system: try System(), devices: { _ in try devices() }, serialOutput: printed.append)
    }

    init(
        restoring directory: Descriptor, base: Descriptor? = nil, _ configuration: MachineConfiguration, devices: @escaping () throws -> [any VirtioDevice] = { [] }
    ) throws {
        machine = try Machine(
            restoring: directory, base: base, configuration, system: try System(), devices: { _ in try devices() }, serialOutput: printed.append)
    }

    /// Runs on a thread of its own; returns when it does.
    func start() throws {
        let started = try EventDescriptor(nonBlocking: false)
        let thread = try Thread("machine") { [self] in
            let reason = try? machine.run(started: { started.signal() })
            ended.withLock { $0 = reason ?? .error("it could not run") }
            started.signal()
        }
        self.thread.withLock { $0 = thread }
        started.drain()
    }

    /// Waits until this much is printed: whether it was in time.
    func waitForOutput(_ count: Int, seconds: Double = 20) -> Bool {
        wait(seconds) { printed.bytes.count >= count }
    }

    /// Waits for the machine's end, and stops it when it does not come.
    func finish(seconds: Double = 20) -> EndReason? {
        _ = wait(seconds) { ended.withLock { $0 } != nil }
        return stop()
    }

    @discardableResult
    func stop() -> EndReason? {
        machine.stop()
        thread.withLock {
            $0?.join()
            $0 = nil
        }
        return ended.withLock { $0 }
    }

    private func wait(_ seconds: Double, until condition: () -> Bool) -> Bool {
        for _ in 0..<Int(seconds * 200) {
            if condition() { return true }
            usleep(5_000)
        }
        return condition()
    }
}

/// A directory for a snapshot, removed at the end.
final class SnapshotFolder {
    let path: String
    let descriptor: Descriptor

    init() throws {
        var template = Array("/tmp/microvm-snapshot.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.current("mkdtemp") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        descriptor = try Descriptor.open(path, O_RDONLY | O_DIRECTORY)
    }

    deinit {
        for name in (try? descriptor.entryNames()) ?? [] { try? descriptor.remove(name) }
        rmdir(path)
    }

    func bytes(_ name: String) throws -> [UInt8] { try Descriptor.open(name, O_RDONLY, at: descriptor).readToEnd(limit: 256 << 20) }

    func replace(_ name: String, with bytes: [UInt8]) throws {
        try descriptor.remove(name)
        let file = try Descriptor.open(name, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600, at: descriptor)
        try file.writeAll(bytes)
    }

    func makeSnapshot(of machine: Machine) throws { try machine.save(to: descriptor) }
}
