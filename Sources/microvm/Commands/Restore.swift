import ArgumentParser
import Glibc
import Linux
import Logging
import OCI
import Sandbox

struct Restore: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Go on with a sandbox that microvm snapshot wrote, and exit with its container's status.",
        discussion: """
            Standard input, output and error become the container's, as with microvm run. A container that was paused stays \
            paused until microvm resume. Anything that is not as it was is refused and named: kernel, guest image, monitor program, \
            CPU, a file of the container's that has changed or gone, a snapshot that is damaged.

            With --image-path, as with runc, TARGET is the container's id.
            """)

    @OptionGroup var globals: GlobalOptions
    @Option(help: ArgumentHelp("The container's id from now on. Default: the one it had.", valueName: "id")) var id: String?
    @Flag(name: [.customShort("d"), .long], help: "Return once the container runs; its state stays until microvm delete.")
    var detach = false
    @Flag(help: "Keep the container's state after its end, for microvm state and delete.") var keep = false
    @Option(help: ArgumentHelp("Write the container's process id on this host there.", valueName: "file")) var pidFile: String?
    @Option(help: ArgumentHelp("Unix socket that takes the other end of the container's terminal.", valueName: "socket")) var consoleSocket: String?
    @Option(name: [.customShort("b"), .long], help: ArgumentHelp("What microvm state says the bundle is. Default: the one it had.", valueName: "dir"))
    var bundle: String?
    @Option(help: .hidden) var imagePath: String?
    @Flag(help: .hidden) var noSubreaper = false
    @Flag(help: .hidden) var noPivot = false
    @OptionGroup var ignored: CheckpointFlags

    @Argument(help: ArgumentHelp("The snapshot's directory.", valueName: "dir"))
    var target: String

    func run() throws {
        var ledger = Ledger()
        ledger.begin("arguments")
        try ignored.check("restore")
        let root = try globals.stateRoot()
        let path = absolutePath(imagePath ?? target)
        let snapshot = try SandboxSnapshot.read(path).snapshot
        let id = try checkedID(id ?? (imagePath == nil ? snapshot.id : target))
        var launch = Launch(id: id, bundle: bundle.map(absolutePath) ?? "", root: root.path, mode: detach ? .detached : .foreground)
        launch.machine = snapshot.machine
        // Of the host it was made on.
        launch.machine.softwareKVM = nil
        launch.snapshot = path
        launch.keepsState = detach || keep
        launch.pidFile = pidFile.map(absolutePath)
        launch.consoleSocket = consoleSocket.map(absolutePath)
        try prepareHost(&launch, root)
        if detach { return try MonitorProcess.start(launch, globals) }
        let monitor = try ContainerMonitor(launch, ledger: ledger, build: Version.number, log: Logger(label: "microvm"))
        monitor.statusOfError = { ExitStatus(of: $0).rawValue }
        throw ExitCode(try monitor.run())
    }
}
