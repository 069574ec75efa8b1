import ArgumentParser
import Sandbox

struct Snapshot: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot",
        abstract: "Write a running sandbox to a directory: its whole machine, with the container in it.",
        discussion: """
            The container stands still meanwhile and then goes on, or ends with --stop. microvm restore goes on from the \
            directory, as often as wanted, as long as kernel, guest image, monitor program and CPU are the same, and \
            every file the container knows of its root file system and volumes is there and unchanged: with --stop nothing \
            changes them afterwards. Processes that others run in it with microvm exec end in what is restored.

            What the container had printed is not printed again. Input that it had not read is lost.

            DIR must not be there yet, or be empty. It gets the guest's memory, so it is readable for its user only.
            """)

    @OptionGroup var globals: GlobalOptions
    @Flag(help: "End the container once it is written; its status is that of one killed.") var stop = false
    @Option(
        help: ArgumentHelp(
            "A snapshot: of memory only what is not as there is written. Going on needs both, where they are now.", valueName: "dir"))
    var parent: String?
    @OptionGroup var container: ContainerArgument
    @Argument(help: ArgumentHelp("Where to write it.", valueName: "dir")) var directory: String

    func run() throws {
        try container.handle(globals).save(to: absolutePath(directory), since: parent.map(absolutePath), ending: stop)
    }
}

/// `runc checkpoint`, for what calls it.
struct Checkpoint: EngineCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkpoint",
        abstract: "As microvm snapshot --stop, with runc's options.", shouldDisplay: false)

    @OptionGroup var globals: GlobalOptions
    @Option(help: ArgumentHelp("Where to write it. Default: ./checkpoint.", valueName: "dir")) var imagePath = "checkpoint"
    @Flag(help: "The container goes on.") var leaveRunning = false
    @OptionGroup var ignored: CheckpointFlags
    @OptionGroup var container: ContainerArgument

    func run() throws {
        try ignored.check("checkpoint")
        try container.handle(globals).save(to: absolutePath(imagePath), since: nil, ending: !leaveRunning)
    }
}

/// What CRIU is told about sockets, locks and terminals, all of which are inside the machine here.
struct CheckpointFlags: ParsableArguments {
    @Option(help: .hidden) var workPath: String?
    @Option(help: .hidden) var parentPath: String?
    @Option(help: .hidden) var manageCgroupsMode: String?
    @Option(help: .hidden) var emptyNs: [String] = []
    @Option(help: .hidden) var pageServer: String?
    @Option(help: .hidden) var statusFd: String?
    @Flag(help: .hidden) var tcpEstablished = false
    @Flag(help: .hidden) var tcpSkipInFlight = false
    @Flag(help: .hidden) var linkRemap = false
    @Flag(help: .hidden) var extUnixSk = false
    @Flag(help: .hidden) var shellJob = false
    @Flag(help: .hidden) var fileLocks = false
    @Flag(help: .hidden) var autoDedup = false
    @Flag(help: .hidden) var preDump = false
    @Flag(help: .hidden) var lazyPages = false

    func check(_ command: String) throws {
        let unsupported = [
            ("--parent-path", parentPath != nil), ("--page-server", pageServer != nil), ("--status-fd", statusFd != nil), ("--pre-dump", preDump),
            ("--lazy-pages", lazyPages),
        ]
        if let (flag, _) = unsupported.first(where: { $0.1 }) { throw Failure(.usage, "\(command): \(flag) is not supported") }
    }
}
