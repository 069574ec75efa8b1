import AgentAPI
import Glibc
import Linux
import TTRPC

/// What is asked of the machine as a whole.
final class MachineService {
    /// For the host to end the machine once all is written.
    private static let switchOffDelay: UInt64 = 1_000_000_000
    static let build = "0.1"

    private let containers: Containers
    private let startedAt: UInt64
    private var readyAt: UInt64 = 0
    private var nameServer: NameServer?
    private let writeBack: WriteBack
    private let switchOff: @Sendable () -> Void

    /// - Parameters:
    ///   - startedAt: when this process began, by `CLOCK_BOOTTIME`.
    ///   - sharesDirectory: where the host's files are; nil: nowhere.
    ///   - switchOff: ends the machine.
    init(_ containers: Containers, startedAt: UInt64, sharesDirectory: String?, switchOff: @escaping @Sendable () -> Void) {
        self.containers = containers
        self.startedAt = startedAt
        writeBack = WriteBack(sharesDirectory: sharesDirectory)
        self.switchOff = switchOff
    }

    func becameReady() {
        readyAt = bootNanoseconds()
    }

    func connect(_ request: ConnectRequest) throws(Status) -> ConnectResponse {
        let version = min(request.maxVersion, AgentProtocol.maximum)
        guard version >= request.minVersion, version >= AgentProtocol.minimum else {
            throw Status(
                .failedPrecondition,
                "protocol versions \(request.minVersion)-\(request.maxVersion) of the host and \(AgentProtocol.minimum)-\(AgentProtocol.maximum) of the guest image do not meet")
        }
        return .with {
            $0.version = version
            $0.agentBuild = Self.build
            $0.kernelRelease = kernelRelease()
            $0.startedAtNs = startedAt
            $0.readyAtNs = readyAt
        }
    }

    /// Others may have been restored from the same state as this machine.
    ///
    /// The boot id needs nothing. The kernel makes it up when it is first read, which nobody has done here.
    func renew(_ request: RenewRequest) throws {
        let seed = Array(request.seed)
        guard (32...4096).contains(seed.count) else { throw Status(.invalidArgument, "a seed of \(seed.count) bytes") }
        try reseedRandom(seed)
        if !request.hostname.isEmpty { try setHostName(request.hostname) }
        try setWallClock(request.nanosecondsSinceEpoch)
        try bringUp(cpus: request.cpus)
    }

    /// The first is up. What the machine has not got would cost ten seconds each before the kernel gives up.
    private func bringUp(cpus: UInt32) throws {
        for index in 1..<max(1, cpus) {
            let file = try Descriptor.open("/sys/devices/system/cpu/cpu\(index)/online", O_WRONLY)
            try file.writeAll("1")
        }
    }

    func configure(_ request: ConfigureNetworkRequest) throws {
        let pid = try request.containerID.isEmpty ? nil : containers.find(request.containerID).main.pid
        try NetworkConfiguration(request).apply(inNamespaceOf: pid)
        // One of before a snapshot has the address.
        nameServer = nil
        guard !request.nameServer.isEmpty else { return }
        guard let address = IPAddress(request.nameServer), address.isVersion4 else { throw Status(.invalidArgument, "name server: no IPv4 address") }
        nameServer = try NameServer(at: address, inNamespaceOf: pid, on: containers.context.loop)
    }

    /// Ends every container, writes out what file systems hold back, answers, and switches off if the host does not.
    ///
    /// A file system whose server is gone keeps this waiting: the host has a deadline.
    func powerOff(_ answer: @escaping () -> Void) {
        let all = containers.all
        for container in all where container.state != .stopped { try? container.cgroup.kill() }
        // Those of a PID namespace have ended before its first.
        writeBack.run(isQuiet: all.allSatisfy { $0.state == .stopped && $0.hasOwnPIDNamespace })
        answer()
        containers.context.loop.schedule(afterNanoseconds: Self.switchOffDelay) { [switchOff] in switchOff() }
    }
}
