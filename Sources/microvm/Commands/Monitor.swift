import ArgumentParser
import Glibc
import Linux
import Logging
import OCI
import Sandbox

/// The monitor of a container that outlives the command which made it: started by ``MonitorProcess``, not by people.
struct Monitor: RuntimeCommand {
    static let configuration = CommandConfiguration(abstract: "Own one container.", shouldDisplay: false)

    @OptionGroup var globals: GlobalOptions
    @Option var channel: Int32

    func run() throws {
        var ledger = Ledger()
        ledger.begin("arguments")
        let channel = MonitorChannel(Descriptor(adopting: channel))
        let monitor: ContainerMonitor
        do {
            monitor = try ContainerMonitor(channel.receiveLaunch(), ledger: ledger, build: Version.number, log: Logger(label: "microvm"))
            try monitor.abandon(whenClosed: channel.socket)
            monitor.onReady = { try channel.succeed() }
            let status = try monitor.run()
            throw ExitCode(status)
        } catch let error where !(error is ExitCode) {
            channel.fail(error)
            throw error
        }
    }
}

/// Starts a monitor and waits until its container is created, or running.
enum MonitorProcess {
    static func start(_ launch: Launch, _ globals: GlobalOptions) throws {
        let (ours, theirs) = try Descriptor.messageSocketPair()
        var options = ChildProcess.Options()
        options.standardInput = try? Descriptor.standardInput.duplicate()
        options.standardOutput = try? Descriptor.standardOutput.duplicate()
        options.standardError = try? Descriptor.standardError.duplicate()
        options.inherited = [theirs]
        let program = try executablePath()
        let arguments = ["microvm", "monitor", "--channel", "\(theirs.raw)"] + globals.forMonitor
        let child = try withExtendedLifetime(theirs) { try ChildProcess(program, arguments, options) }
        try MonitorChannel(ours).send(launch, closing: theirs)
        child.release()
    }
}
