import AgentAPI
import Glibc
import Linux

/// The agent as PID 1: sets the machine up, tells the host it is ready, serves until it is switched off.
public enum AgentMain {
    /// Never returns as PID 1: the kernel would panic.
    public static func run() -> Never {
        let startedAt = bootNanoseconds()
        MachineSetup.run()
        let hasShares = MachineSetup.mountShares()
        do throws(SystemError) {
            try serve(startedAt, hasShares: hasShares)
        } catch {
            MachineSetup.log("\(error)")
        }
        powerOffMachine()
        exit(1)
    }

    private static func serve(_ startedAt: UInt64, hasShares: Bool) throws(SystemError) {
        // Blocked, not ignored: what is ignored stays so in every program started.
        blockSignal(SIGPIPE)
        let loop = try EventLoop()
        var configuration = Agent.Configuration()
        configuration.isInit = true
        configuration.startedAt = startedAt
        configuration.emptyDirectory = "/empty"
        configuration.sparesDirectory = MachineSetup.sparesDirectory
        if hasShares { configuration.sharesDirectory = AgentAddress.sharesDirectory }
        configuration.switchOff = { powerOffMachine() }
        let agent = try Agent(configuration, on: loop)
        try agent.listen(
            calls: .listening(at: .vsock(cid: SocketAddress.anyCID, port: AgentAddress.rpcPort)),
            streams: .listening(at: .vsock(cid: SocketAddress.anyCID, port: AgentAddress.streamPort)))
        agent.becameReady()
        do throws(SystemError) {
            try agent.serve(.connected(to: .vsock(cid: SocketAddress.hostCID, port: AgentAddress.rpcPort)))
        } catch {
            // A host that does not listen may still dial.
            MachineSetup.log("\(error)")
        }
        try loop.run()
    }
}
