import Linux
import Sandbox

/// Starts the process that stands on this host for a container, or for a process in one, and waits until that runs.
enum MonitorProcess {
    static func start(_ launch: Launch, _ globals: GlobalOptions) throws {
        try start("monitor", launch, hasTerminal: launch.consoleSocket != nil, launch.passed, globals)
    }

    static func start(_ launch: ExecLaunch, _ globals: GlobalOptions) throws {
        try start("exec-monitor", launch, hasTerminal: launch.consoleSocket != nil, launch.passed, globals)
    }

    /// A fresh process, never a fork: it inherits our streams, what is passed to the container, our environment and nothing else.
    ///
    /// - Parameter hasTerminal: of its own. Our streams are not the container's then, and engines wait for their end.
    private static func start(_ command: String, _ launch: some Encodable, hasTerminal: Bool, _ passed: [Int32], _ globals: GlobalOptions) throws {
        let (ours, theirs) = try Descriptor.messageSocketPair()
        var options = ChildProcess.Options()
        if !hasTerminal {
            options.standardInput = try? Descriptor.standardInput.duplicate()
            options.standardOutput = try? Descriptor.standardOutput.duplicate()
            options.standardError = try? Descriptor.standardError.duplicate()
        }
        options.inherited = [theirs] + passed.map { Descriptor(adopting: $0) }
        // Hooks get it.
        options.environment = try ownEnvironment()
        let arguments = ["microvm", command, "--channel", "\(theirs.raw)"] + globals.forMonitor
        let child = try ChildProcess(executablePath(), arguments, options)
        try MonitorChannel(ours).send(launch, to: child)
        child.release()
    }
}
