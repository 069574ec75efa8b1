import ArgumentParser
import Glibc
import Linux
import Logging
import OCI
import Sandbox

struct Exec: RuntimeCommand {
    var failureStatus: Int32? { 255 }

    static let configuration = CommandConfiguration(
        commandName: "exec",
        abstract: "Run another process in a running container.",
        discussion: "Exits with the process's status, or 255 when it could not be run.")

    @OptionGroup var globals: GlobalOptions
    @Option(name: .shortAndLong, help: ArgumentHelp("File with the process as in config.json; the other options are then not used.", valueName: "file"))
    var process: String?
    @Flag(name: .shortAndLong, help: "Return once the process runs.") var detach = false
    @Flag(name: .shortAndLong, help: "Give it a terminal.") var tty = false
    @Option(help: ArgumentHelp("Write the id of the process on this host there.", valueName: "file")) var pidFile: String?
    @Option(help: ArgumentHelp("Unix socket that takes the other end of the terminal.", valueName: "socket")) var consoleSocket: String?
    @Option(help: ArgumentHelp("Its working directory. Default: the container's.", valueName: "dir")) var cwd: String?
    @Option(name: .shortAndLong, help: ArgumentHelp("Set a variable, beside the container's; may be repeated.", valueName: "name=value"))
    var env: [String] = []
    @Option(name: .shortAndLong, help: ArgumentHelp("Its user. Default: the container's.", valueName: "uid[:gid]")) var user: String?
    @Option(name: [.customShort("g"), .long], help: ArgumentHelp("A supplementary group; may be repeated.", valueName: "gid"))
    var additionalGids: [UInt32] = []
    @Option(name: [.customShort("c"), .long], help: ArgumentHelp("A capability beside the container's; may be repeated.", valueName: "name"))
    var cap: [String] = []
    @Flag(help: "It cannot gain privileges.") var noNewPrivs = false
    @Option(help: .hidden) var apparmor: String?
    @Option(help: .hidden) var processLabel: String?
    @Option(help: ArgumentHelp("Pass the pipes, files (as streams) and connections that are open under so many numbers from 3 on.", valueName: "count"))
    var preserveFds = 0
    @Option(help: ArgumentHelp("Run in this cgroup below the container's, which must be there.", valueName: "path")) var cgroup: String?
    @Flag(help: "Wait for a paused container to be resumed.") var ignorePaused = false

    @Argument(help: ArgumentHelp("The container's id.", valueName: "id")) var id: String
    @Argument(parsing: .captureForPassthrough, help: ArgumentHelp("The program and its arguments.", valueName: "command")) var command: [String] = []

    func run() throws {
        for (flag, value) in [("--apparmor", apparmor), ("--process-label", processLabel)] where value?.isEmpty == false {
            throw Failure(.usage, "\(flag): not supported in a virtual machine")
        }
        guard preserveFds >= 0 else { throw Failure(.usage, "--preserve-fds: less than none") }
        guard cgroup?.contains(":") != true else { throw Failure(.usage, "--cgroup: a container has one hierarchy of cgroups, without a name") }
        let root = try globals.stateRoot()
        let handle = try ContainerHandle(id, in: root)
        var launch = ExecLaunch(id: id, root: root.path, process: try wanted(handle), isDetached: detach)
        launch.cgroup = cgroup
        launch.waitsForResume = ignorePaused
        launch.passed = PassedDescriptor.inherited(preserveFds)
        launch.pidFile = pidFile.map(absolutePath)
        launch.consoleSocket = consoleSocket.map(absolutePath)
        if detach { return try MonitorProcess.start(launch, globals) }
        throw ExitCode(try ExecSession(launch, log: Logger(label: "microvm")).run())
    }

    private func wanted(_ handle: ContainerHandle) throws -> OCI.Process {
        if let process {
            let wanted: OCI.Process = try JSON.decode(from: Bundle.readFile(process, orPipe: true))
            try wanted.validate()
            return wanted
        }
        var wanted = try handle.directory.config().process ?? OCI.Process(args: [])
        wanted.args = command.first == "--" ? Array(command.dropFirst()) : command
        guard !wanted.args.isEmpty else { throw Failure(.usage, "exec: no command, and no --process") }
        wanted.terminal = tty
        wanted.consoleSize = nil
        wanted.env += env
        if let cwd { wanted.cwd = cwd }
        if let user { wanted.user = try parse(user) }
        if !additionalGids.isEmpty { wanted.user.additionalGids = additionalGids }
        if noNewPrivs { wanted.noNewPrivileges = true }
        if !cap.isEmpty {
            var capabilities = wanted.capabilities ?? LinuxCapabilities()
            capabilities.bounding += cap
            capabilities.effective += cap
            capabilities.permitted += cap
            wanted.capabilities = capabilities
        }
        try wanted.validate()
        return wanted
    }

    private func parse(_ user: String) throws -> User {
        let parts = user.split(separator: ":", omittingEmptySubsequences: false).map { UInt32($0) }
        guard (1...2).contains(parts.count), let uid = parts[0], let gid = parts.count > 1 ? parts[1] : 0 else {
            throw Failure(.usage, "--user: \"\(user)\" is not uid or uid:gid, in numbers")
        }
        return User(uid: uid, gid: gid)
    }
}

/// A process executed in a container, when the command that asked for it does not wait: started by ``MonitorProcess``.
struct ExecMonitor: RuntimeCommand {
    static let configuration = CommandConfiguration(commandName: "exec-monitor", abstract: "Own one executed process.", shouldDisplay: false)

    @OptionGroup var globals: GlobalOptions
    @Option var channel: Int32

    func run() throws {
        let channel = MonitorChannel(Descriptor(adopting: channel))
        do {
            let session = try ExecSession(channel.receive(), log: Logger(label: "microvm"))
            session.onReady = { try channel.succeed() }
            throw ExitCode(try session.run())
        } catch let error where !(error is ExitCode) {
            channel.fail(error)
            throw error
        }
    }
}
