import ArgumentParser
import Glibc
import Linux
import Logging
import OCI
import Sandbox

struct Run: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run a container in a virtual machine of its own, and exit with its status.",
        discussion: """
            TARGET is a bundle's directory (microvm run ./bundle), and the container gets an id of its own. \
            With --bundle, or when it is no directory, TARGET is the container's id, as engines call it \
            (microvm run --bundle DIR ID); the bundle is the working directory then unless --bundle is given.

            Standard input, output and error are the container's. With process.terminal in config.json the \
            container gets a terminal, and the one this command runs on is put into raw mode meanwhile. \
            Signals are passed on to the container's first process.

            \(ExitStatus.help)
            """)

    /// No status of a container's is mistaken for it: runc's.
    var failureStatus: Int32? { detach ? 1 : nil }

    @OptionGroup var globals: GlobalOptions
    @OptionGroup(title: "Machine") var machine: MachineFlags
    @OptionGroup(title: "Container") var create: CreateFlags

    @Flag(name: [.customShort("d"), .long], help: "Return once the container runs, with status 1 if it does not; its state stays until microvm delete.")
    var detach = false

    @Flag(help: "Keep the container's state after its end, for microvm state and delete.")
    var keep = false

    @Flag(help: "Say on standard error where the start's time went (microvm why shows more).")
    var timing = false

    @Flag(help: .hidden) var noSubreaper = false

    @Argument(help: ArgumentHelp("The bundle's directory, or the container's id.", valueName: "target"))
    var target: String

    func run() throws {
        var ledger = Ledger()
        ledger.begin("arguments")
        let root = try globals.stateRoot()
        let (id, bundle) = try target(root)
        var launch = Launch(id: id, bundle: bundle, root: root.path, mode: detach ? .detached : .foreground)
        try machine.apply(to: &launch)
        try create.apply(to: &launch)
        launch.pool = try globals.readSettings().poolSize
        launch.keepsState = detach || keep
        try prepareHost(&launch, root)
        if detach { return try MonitorProcess.start(launch, globals) }
        let monitor = try ContainerMonitor(launch, ledger: ledger, build: Version.number, log: Logger(label: "microvm"))
        monitor.onTemplate = { TemplateReporter().show($0) }
        monitor.statusOfError = { ExitStatus(of: $0).rawValue }
        defer { if timing { reportTiming(id, root) } }
        let status = try monitor.run()
        throw ExitCode(status)
    }

    /// The container's id, and the bundle's absolute path.
    private func target(_ root: StateRoot) throws -> (id: String, bundle: String) {
        if let bundle = create.bundle { return (try checkedID(target), absolutePath(bundle)) }
        if isDirectory(target) || target.contains("/") { return (try freshID(target), absolutePath(target)) }
        guard isFile(create.config) else { throw Failure(.missing, "\(target): no such bundle") }
        return (try checkedID(target), absolutePath("."))
    }

    /// The directory's name and something nobody else has.
    private func freshID(_ bundle: String) throws -> String {
        let name = absolutePath(bundle).split(separator: "/").last { $0 != "." }.map(String.init) ?? "run"
        let suffix = try randomBytes(3).map { String($0, radix: 16).leftPadded(2) }.joined()
        let id = "\(name.prefix(40))-\(suffix)"
        return isValidContainerID(id) && !id.hasPrefix(".") ? id : "run-\(suffix)"
    }

    private func reportTiming(_ id: String, _ root: StateRoot) {
        guard let record = try? LedgerStore(root).load(id) else { return }
        try? Descriptor.standardError.writeAll(LedgerReport(record).line + "\n")
    }
}

/// An id that is usable as one.
func checkedID(_ id: String) throws -> String {
    guard isValidContainerID(id), !id.hasPrefix(".") else { throw Failure(.usage, "invalid container id: \"\(id)\"") }
    return id
}

/// Refuses a host that cannot run machines, and tells the VMM what kind it is.
func prepareHost(_ launch: inout Launch, _ root: StateRoot) throws {
    guard launch.machine.softwareKVM == nil else { return }
    launch.machine.softwareKVM = try HostKVM.verdict(HostKVM.open(), root).kind == .software
}

private func isDirectory(_ path: String) -> Bool {
    (try? Descriptor.open(path, O_RDONLY | O_DIRECTORY)) != nil
}

private func isFile(_ path: String) -> Bool {
    (try? Descriptor.openPath(path)) != nil
}
