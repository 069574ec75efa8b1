import AgentAPI
import ArgumentParser
import Glibc
import Linux
import Logging
import OCI
import Sandbox

struct Create: EngineCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Create a container: all but its program runs when this returns.",
        discussion: """
            Standard input, output and error become the container's. A monitor process stays on this host as the \
            container's process: its id is what --pid-file gets, and it exits with the container's status.
            """)

    @OptionGroup var globals: GlobalOptions
    @OptionGroup(title: "Machine") var machine: MachineFlags
    @OptionGroup(title: "Container") var create: CreateFlags
    @Argument(help: ArgumentHelp("The container's id.", valueName: "id")) var id: String

    func run() throws {
        let root = try globals.stateRoot()
        var launch = Launch(id: try checkedID(id), bundle: absolutePath(create.bundle ?? "."), root: root.path, mode: .create)
        try machine.apply(to: &launch)
        try create.apply(to: &launch)
        launch.pool = try globals.readSettings().poolSize
        launch.keepsState = true
        try prepareHost(&launch, root)
        try MonitorProcess.start(launch, globals)
    }
}

struct Start: EngineCommand {
    static let configuration = CommandConfiguration(commandName: "start", abstract: "Start the program of a created container.")
    @OptionGroup var globals: GlobalOptions
    @OptionGroup var container: ContainerArgument

    func run() throws {
        let handle = try container.handle(globals)
        switch try Self.made(handle) {
        case .created: break
        case .stopped: throw SandboxError(.wrongState, "cannot start a container that has stopped")
        case .running, .paused: throw SandboxError(.wrongState, "cannot start an already running container")
        case .creating: throw SandboxError(.wrongState, "cannot start a container that is being created")
        }
        _ = try handle.client().call(AgentMethods.startContainer, container.request)
    }

    /// The status once the container is made: whoever sees its state may start it, a minute later at most.
    private static func made(_ handle: ContainerHandle) throws -> State.Status {
        let deadline = monotonicNanoseconds() &+ 60_000_000_000
        while true {
            let status = try handle.state().status
            guard status == .creating, monotonicNanoseconds() < deadline else { return status }
            usleep(20_000)
        }
    }
}

struct StateCommand: EngineCommand {
    static let configuration = CommandConfiguration(commandName: "state", abstract: "Print a container's state as JSON.")
    @OptionGroup var globals: GlobalOptions
    @OptionGroup var container: ContainerArgument

    func run() throws {
        try printOut(JSON.encode(container.handle(globals).state(), .pretty) + "\n")
    }
}

struct Kill: EngineCommand {
    static let configuration = CommandConfiguration(commandName: "kill", abstract: "Send a signal to a container's first process.")
    @OptionGroup var globals: GlobalOptions
    @Flag(name: .shortAndLong, help: "To every process of the container.") var all = false
    @OptionGroup var container: ContainerArgument
    @Argument(help: ArgumentHelp("A number or a name, with or without SIG.", valueName: "signal")) var signal = "TERM"

    func run() throws {
        guard let number = SignalName.number(of: signal) else { throw Failure(.usage, "unknown signal \"\(signal)\"") }
        try container.handle(globals).kill(number, all: all)
    }
}

struct Delete: EngineCommand {
    static let configuration = CommandConfiguration(commandName: "delete", abstract: "Remove a container that has stopped, or was never started.")
    @OptionGroup var globals: GlobalOptions
    @Flag(name: .shortAndLong, help: "A running one too: it is killed. One that does not exist is no error.") var force = false
    @Flag(help: "Every container in whose id this POSIX extended regular expression is found, as crun's delete has it.") var regex = false
    @OptionGroup var container: ContainerArgument

    func run() throws {
        let root = try globals.stateRoot()
        guard regex else { return try delete(container.id, in: root, missing: force) }
        guard let expression = RegularExpression(container.id) else { throw Failure(.usage, "--regex: \"\(container.id)\" is no regular expression") }
        var failures: [any Error] = []
        for id in root.ids() where expression.matches(id) {
            // Others' fate is not its own; and somebody else may have deleted it meanwhile.
            do { try delete(id, in: root, missing: true) } catch { failures.append(error) }
        }
        failures.dropLast().forEach(Log.report)
        if let last = failures.last { throw last }
    }

    /// - Parameter missing: whether one that does not exist is no error.
    private func delete(_ id: String, in root: StateRoot, missing: Bool) throws {
        do {
            try ContainerHandle(id, in: root).delete(force: force) { Logger(label: "microvm").warning("\($0)") }
        } catch let error as SandboxError where missing && error.kind == .noSuchContainer {
            return
        }
    }
}

struct Pause: EngineCommand {
    static let configuration = CommandConfiguration(commandName: "pause", abstract: "Stop every process of a container until microvm resume.")
    @OptionGroup var globals: GlobalOptions
    @OptionGroup var container: ContainerArgument

    func run() throws {
        _ = try container.handle(globals).client().call(AgentMethods.pause, container.request)
    }
}

struct Resume: EngineCommand {
    static let configuration = CommandConfiguration(commandName: "resume", abstract: "Let a paused container go on.")
    @OptionGroup var globals: GlobalOptions
    @OptionGroup var container: ContainerArgument

    func run() throws {
        _ = try container.handle(globals).client().call(AgentMethods.resume, container.request)
    }
}

/// The id of the container a command is about.
struct ContainerArgument: ParsableArguments {
    @Argument(help: ArgumentHelp("The container's id.", valueName: "id")) var id: String

    var request: ContainerRequest { .with { $0.containerID = id } }

    func handle(_ globals: GlobalOptions) throws -> ContainerHandle {
        try ContainerHandle(id, in: globals.stateRoot())
    }
}
