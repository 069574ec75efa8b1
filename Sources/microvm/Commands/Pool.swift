import ArgumentParser
import Linux
import OCI
import Sandbox

struct PoolCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pool", abstract: "Machines that wait for containers.",
        discussion: """
            With size = N in the table [pool] of the settings file, N machines made from the template wait, each with a process \
            that keeps it. A start takes one, if its machine is of the default size and nothing particular is asked of it, and the next \
            is made. They end when the host runs short of memory, or what they are made of has changed.
            """,
        subcommands: [PoolStatus.self, PoolFill.self, PoolDrain.self, PoolKeep.self])
}

/// What the pool's commands have in common.
struct PoolFlags: ParsableArguments {
    @Option(help: ArgumentHelp("How many machines shall wait. Default: what the settings file says.", valueName: "n")) var size: Int?
    @Option(help: ArgumentHelp("Where templates are kept, as for microvm run.", valueName: "dir")) var templates: String?
    @Option(help: .hidden) var hostKind: HostKindName?

    func pool(_ globals: GlobalOptions) throws -> MachinePool {
        let root = try globals.stateRoot()
        var launch = Launch(id: "pool", bundle: "/", root: root.path, mode: .foreground)
        launch.machine.softwareKVM = hostKind.map { $0 == .software }
        launch.machine.templates = templates.map(absolutePath)
        try prepareHost(&launch, root)
        return try MachinePool(root, target: try size ?? globals.readSettings().poolSize, launch.machine, build: Version.number)
    }
}

struct PoolStatus: RuntimeCommand {
    static let configuration = CommandConfiguration(commandName: "status", abstract: "List the machines that wait.")
    @OptionGroup var globals: GlobalOptions
    @OptionGroup var flags: PoolFlags
    @Option(name: .shortAndLong, help: "How to print it.") var format: TableFormat = .table

    struct Row: Encodable {
        let keeper: Int32
        let state: String
    }

    func run() throws {
        let rows = try flags.pool(globals).entries().map { Row(keeper: $0.keeper, state: $0.isReady ? "waiting" : "being made") }
        if format == .json { return try printOut(JSON.encode(rows, .pretty) + "\n") }
        var table = Table(["KEEPER", "STATE"])
        for row in rows { table.add(["\(row.keeper)", row.state]) }
        try printOut(table.text)
    }
}

struct PoolFill: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "fill", abstract: "Make machines until enough wait.", discussion: "Starts do that by themselves; this is for before the first.")
    @OptionGroup var globals: GlobalOptions
    @OptionGroup var flags: PoolFlags

    func run() throws {
        let pool = try flags.pool(globals)
        guard pool.target > 0 else { throw Failure(.usage, "pool fill: the settings file has no size in [pool], and there is no --size") }
        try pool.fill(build: Version.number) { TemplateReporter().show($0) }
    }
}

struct PoolDrain: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "End the machines that wait.", discussion: "The next start fills the pool again, unless the settings file says otherwise.")
    @OptionGroup var globals: GlobalOptions
    @OptionGroup var flags: PoolFlags

    func run() throws { try flags.pool(globals).drain() }
}

/// The process that keeps one machine: started by starts, not by people.
struct PoolKeep: RuntimeCommand {
    static let configuration = CommandConfiguration(commandName: "keep", abstract: "Keep one machine.", shouldDisplay: false)
    @OptionGroup var globals: GlobalOptions
    @OptionGroup var flags: PoolFlags
    @Flag var late = false

    func run() throws { try PoolKeeper(flags.pool(globals), build: Version.number).run(isLate: late) }
}
