import ArgumentParser
import Linux
import Sandbox

/// What `create` and `run` have in common, as runc has it.
struct CreateFlags: ParsableArguments {
    @Option(name: [.customShort("b"), .long], help: ArgumentHelp("The bundle: a directory with a config.json.", valueName: "dir"))
    var bundle: String?

    @Option(help: ArgumentHelp("Write the container's process id on this host there.", valueName: "file"))
    var pidFile: String?

    @Option(help: ArgumentHelp("Unix socket that takes the other end of the container's terminal.", valueName: "socket"))
    var consoleSocket: String?

    @Flag(help: "Boot the virtual machine, instead of going on from a template of one that has booted.")
    var cold = false

    @Option(help: .hidden)
    var preserveFds = 0

    // The container's root is the guest's: there is nothing to pivot on the host, and no keyring.
    @Flag(help: .hidden) var noPivot = false
    @Flag(help: .hidden) var noNewKeyring = false

    func apply(to launch: inout Launch) throws {
        guard preserveFds == 0 else { throw Failure(.usage, "--preserve-fds: open files cannot be handed into a virtual machine") }
        launch.machine.isCold = cold
        launch.pidFile = pidFile.map(absolutePath)
        launch.consoleSocket = consoleSocket.map(absolutePath)
    }
}
