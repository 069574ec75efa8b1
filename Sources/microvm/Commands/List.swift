import AgentAPI
import ArgumentParser
import OCI
import Sandbox

struct List: EngineCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the containers.")
    @OptionGroup var globals: GlobalOptions
    @Option(name: .shortAndLong, help: "How to print it.") var format: TableFormat = .table
    @Flag(name: .shortAndLong, help: "Print ids only.") var quiet = false

    func run() throws {
        let root = try globals.stateRoot()
        StateDirectory.sweep(root)
        // Containers come and go meanwhile; one half gone is not there.
        let states = root.ids().compactMap { id in try? ContainerHandle(id, in: root).state() }
        if quiet { return try printOut(states.map { $0.id + "\n" }.joined()) }
        switch format {
        case .json: try printOut(states.isEmpty ? "null" : JSON.encode(states))
        case .table:
            var table = Table(["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"])
            for state in states { table.add([state.id, "\(state.pid)", state.status.rawValue, state.bundle, state.created, state.owner]) }
            try printOut(table.text)
        }
    }
}

struct PS: EngineCommand {
    static let configuration = CommandConfiguration(
        commandName: "ps", abstract: "List a container's processes.",
        discussion: """
            The table has those in the guest, by the guest's process ids. What follows the container's id are ps's own options \
            (default -ef): -e, -f, -x, aux, -o and their like. JSON has the ids, on this host, of the processes that stand for them.
            """)
    @OptionGroup var globals: GlobalOptions
    @Option(name: .shortAndLong, help: "How to print it.") var format: TableFormat = .table
    @OptionGroup var container: ContainerArgument
    @Argument(parsing: .captureForPassthrough, help: .hidden) var options: [String] = []

    func run() throws {
        let table = try ProcessTable(options.first == "--" ? Array(options.dropFirst()) : options)
        let handle = try container.handle(globals)
        let state = try handle.state()
        // Nothing of it runs: no error, as with runc.
        let answer = state.status == .stopped ? ListProcessesResponse() : try handle.client().call(AgentMethods.listProcesses, container.request)
        switch format {
        case .json:
            // An exec id begins with the id of the process that asked for it.
            let others = Set(answer.processes.compactMap { $0.execID.split(separator: ".").first.flatMap { Int32($0) } })
            try printOut(JSON.encode((state.pid > 0 ? [state.pid] : []) + others.sorted()))
        case .table: try printOut(table.text(answer.processes, ProcessTable.Context(memory: answer.memoryKibibytes)))
        }
    }
}

enum TableFormat: String, ExpressibleByArgument, CaseIterable {
    case table, json
}
