import AgentAPI
import Glibc
import Linux
import OCI
import TTRPC

/// Stands in for `microvm-vmm` where tests are about the host: it takes the same options, and instead of a machine with an
/// agent it has an agent that runs the container's program right here.
///
/// `--cmdline` (`microvm run --kernel-arguments`) makes it misbehave: see ``Fault``.
@main
struct FakeVMM {
    static func main() throws {
        let options = Options(Array(CommandLine.arguments.dropFirst()))
        ignoreBrokenPipes()
        let loop = try EventLoop()
        switch options.fault {
        case .fails:
            try Descriptor.standardError.writeAll("microvm-vmm: load kernel: the file is truncated\n")
            exit(3)
        case .hangs:
            while true { sleep(1000) }
        default: break
        }
        let now = monotonicNanoseconds()
        try options.control.send(Array("event started \(now) \(now) \(now) \(now)".utf8))
        if options.fault == .panicsAtBoot { end(options, "panic", 4) }
        let guest = try FakeGuest(options, on: loop)
        try guest.dialHost()
        try loop.add(options.control, .readable) { _ in
            if (try? options.control.receive(limit: 4096).bytes.isEmpty) != false { exit(0) }
        }
        try loop.run()
    }

    static func end(_ options: Options, _ reason: String, _ status: Int32) -> Never {
        try? options.control.send(Array("event ended \(reason)".utf8))
        exit(status)
    }
}

/// What goes wrong.
enum Fault: String {
    /// Before the guest's first instruction.
    case fails
    case hangs
    case panicsAtBoot
    /// Once the container was started.
    case panicsAtStart
    /// Another version of the protocol.
    case otherVersion
    /// Signals are never answered.
    case deafToSignals
    /// The agent's connection closes when the container is started.
    case agentLeaves
    /// Answers ListProcesses with processes nobody executed.
    case strangers
    /// Has written everything back when asked to power off, and goes on.
    case staysOn
}

/// The options of `microvm-vmm` that matter here.
struct Options {
    var control = Descriptor(adopting: -1)
    var vsock = Descriptor(adopting: -1)
    var directory = -1
    var vsockPath = ""
    var fault: Fault?
    var shares: [String] = []
    var size = ""

    init(_ arguments: [String]) {
        var rest = arguments[...]
        while let flag = rest.popFirst() {
            if flag == "--kill-with-parent" || flag == "--jail" { continue }
            let value = rest.popFirst() ?? ""
            switch flag {
            case "--control-fd": control = Descriptor(adopting: Int32(value) ?? -1)
            case "--vsock-fd": vsock = Descriptor(adopting: Int32(value) ?? -1)
            case "--directory-fd": directory = Int(value) ?? -1
            case "--vsock-path": vsockPath = value
            case "--cmdline": fault = Fault(rawValue: value)
            // The descriptor's number is of no interest.
            case "--share": shares.append(value.split(separator: ":").enumerated().filter { $0.offset != 1 }.map { String($0.element) }.joined(separator: ":"))
            case "--cpus", "--memory": size += (size.isEmpty ? "" : " ") + value
            default: break
            }
        }
    }
}
