import CLinux
import Glibc
import KVM
import Linux
import Testing

@testable import Machine

/// A `microvm-vmm` of this build with a hand-written kernel, started as `microvm` starts it.
final class VMMProcess {
    let child: ChildProcess
    let control: Descriptor
    /// What the guest printed and the program complained about.
    let console: Descriptor
    let errors: Descriptor

    /// - Parameter options: more options; descriptors in them are named in `passing`.
    init(_ kernel: Descriptor, _ options: [String] = [], passing: [Descriptor] = [], memory: Int = 64 << 20) throws {
        let (ours, theirs) = try Descriptor.socketPair(SOCK_SEQPACKET)
        control = ours
        console = try makeMemoryFile("console", count: 0)
        errors = try makeMemoryFile("errors", count: 0)
        var start = ChildProcess.Options()
        start.standardError = errors
        start.inherited = [kernel, theirs, console] + passing
        start.diesWithParent = true
        child = try ChildProcess(
            try Self.program(),
            ["microvm-vmm", "--kernel-fd", "\(kernel.raw)", "--control-fd", "\(theirs.raw)", "--console-fd", "\(console.raw)"]
                + ["--memory", "\(memory)", "--host-kind", Self.hostKind] + options, start)
    }

    /// The next message from the VMM, without `event `; nil once it is gone. Fails after twenty seconds.
    func next() throws -> String? {
        guard control.isReady(for: .readable, milliseconds: 20_000) else { throw SystemError("control socket: silent for 20 s", .timedOut) }
        let bytes = try control.receive(limit: 65536).bytes
        return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
    }

    /// Sends a request and gives its answer.
    func ask(_ request: String, passing: [Descriptor] = []) throws -> String? {
        try control.send(Array(request.utf8), passing: passing)
        return try next()
    }

    func expectStarted() throws {
        let event = try next()
        #expect(event?.hasPrefix("event started ") == true, "\(String(describing: event)), \(complaints)")
    }

    /// Waits for the end and says how.
    func exitCode() throws -> ProcessEnd? {
        guard child.pidfd.isReady(for: .readable, milliseconds: 20_000) else { throw SystemError("microvm-vmm: no end after 20 s", .timedOut) }
        return child.reap()
    }

    var printed: [UInt8] { (try? console.read(upTo: 1 << 16, at: 0)) ?? [] }
    var complaints: String { String(decoding: (try? errors.read(upTo: 1 << 16, at: 0)) ?? [], as: UTF8.self) }

    /// A word of this host's kind for `--host-kind`.
    static var hostKind: String { access("/sys/module/kvm_pvm", F_OK) == 0 ? "software" : "hardware" }

    /// Next to the running test program.
    private static func program() throws -> String {
        var path = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &path, path.count)
        let text = String(decoding: path.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let directory = text.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        return directory + "/microvm-vmm"
    }
}
