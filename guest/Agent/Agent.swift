public import Linux
import TTRPC

/// The guest agent: serves `agent.proto` on connections and starts containers. Everything happens on `loop`'s thread.
public final class Agent {
    /// Where the agent finds things, and what it is responsible for.
    public struct Configuration {
        /// Where cgroup v2 is mounted.
        public var cgroupRoot = "/sys/fs/cgroup"
        /// A directory nobody can put anything into; nil: there is none.
        public var emptyDirectory: String?
        /// A directory for mounts that wait for containers; nil: there is none.
        public var sparesDirectory: String?
        /// Where the host's files are mounted; nil: nowhere.
        public var sharesDirectory: String?
        /// This is PID 1: it reaps whatever ends, and nobody else's controllers are in the cgroup's root.
        public var isInit = false
        /// When this process began, nanoseconds of `CLOCK_BOOTTIME`.
        public var startedAt: UInt64 = 0
        /// Nanoseconds a process's connections may take to arrive after the request that names them.
        public var streamPatience: UInt64 = 60_000_000_000
        /// Ends the machine.
        public var switchOff: @Sendable () -> Void = {}

        public init() {}
    }

    private let context: AgentContext
    private let machine: MachineService
    private let server: Server

    public init(_ configuration: Configuration, on loop: EventLoop) throws(SystemError) {
        context = try AgentContext(
            on: loop, cgroupRoot: configuration.cgroupRoot, emptyDirectory: configuration.emptyDirectory, sparesDirectory: configuration.sparesDirectory,
            adoptingOrphans: configuration.isInit)
        if configuration.isInit { context.cgroups.prepare() }
        let containers = Containers(context, streamPatience: configuration.streamPatience)
        machine = MachineService(containers, startedAt: configuration.startedAt, sharesDirectory: configuration.sharesDirectory, switchOff: configuration.switchOff)
        server = Server(AgentService(containers: containers, machine: machine).methods, on: loop)
    }

    /// How much there is that was made ahead of containers, cgroups left out.
    var spareCount: Int { context.spares.count }

    /// Serves one connection.
    public func serve(_ socket: Descriptor) throws(SystemError) {
        try server.serve(socket)
    }

    /// Serves every connection to `calls`; those to `streams` are processes' standard streams.
    public func listen(calls: Descriptor, streams: Descriptor) throws(SystemError) {
        try calls.setNonBlocking()
        try context.loop.add(calls, .readable) { [server] _ in
            while let socket = try? calls.accept() { try? server.serve(socket) }
        }
        try context.streams.serve(streams)
    }

    /// Takes a connection as a process's stream, as if it had come to the listener.
    public func addStream(_ socket: Descriptor) throws(SystemError) {
        try socket.setNonBlocking()
        context.streams.add(socket)
    }

    /// From here on the host is told that the agent is ready.
    public func becameReady() {
        machine.becameReady()
    }
}
