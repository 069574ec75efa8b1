import ArgumentParser
import Glibc
import Linux
import OCI
import Sandbox

/// What `create` and `run` have in common, as runc has it.
struct CreateFlags: ParsableArguments {
    @Option(name: [.customShort("b"), .long], help: ArgumentHelp("The bundle: a directory with a config.json.", valueName: "dir"))
    var bundle: String?

    @Option(
        name: [.customShort("f"), .long],
        help: ArgumentHelp("Read this instead of config.json; from the bundle on, unless absolute.", valueName: "file"))
    var config = Bundle.configName

    @Option(help: ArgumentHelp("Write the container's process id on this host there.", valueName: "file"))
    var pidFile: String?

    @Option(help: ArgumentHelp("Unix socket that takes the other end of the container's terminal.", valueName: "socket"))
    var consoleSocket: String?

    @Flag(help: "Boot the virtual machine, instead of going on from a template of one that has booted.")
    var cold = false

    @Option(help: ArgumentHelp("Pass the pipes, files (as streams) and connections that are open under so many numbers from 3 on.", valueName: "count"))
    var preserveFds = 0

    // The container's root is the guest's: there is nothing to pivot on the host, and no keyring.
    @Flag(help: .hidden) var noPivot = false
    @Flag(help: .hidden) var noNewKeyring = false

    func apply(to launch: inout Launch) throws {
        guard preserveFds >= 0 else { throw Failure(.usage, "--preserve-fds: less than none") }
        launch.listening = listeningDescriptors()
        launch.passed = PassedDescriptor.inherited(launch.listening + preserveFds)
        launch.config = config
        launch.machine.isCold = cold
        launch.pidFile = pidFile.map(absolutePath)
        launch.consoleSocket = consoleSocket.map(absolutePath)
    }
}

/// How many descriptors from 3 on a service manager says this process has (sd_listen_fds(3)).
private func listeningDescriptors() -> Int {
    func number(_ name: String) -> Int? { getenv(name).flatMap { Int(String(cString: $0)) } }
    guard let count = number("LISTEN_FDS"), count > 0 else { return 0 }
    // crun believes those too who do not say whom they mean.
    return number("LISTEN_PID").map { $0 == Int(getpid()) } ?? true ? count : 0
}
