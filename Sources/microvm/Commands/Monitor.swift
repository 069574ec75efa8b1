import ArgumentParser
import Glibc
import Linux
import Logging
import OCI
import Sandbox

/// The monitor of a container that outlives the command which made it: started by ``MonitorProcess``, not by people.
struct Monitor: RuntimeCommand {
    static let configuration = CommandConfiguration(commandName: "monitor", abstract: "Own one container.", shouldDisplay: false)

    @OptionGroup var globals: GlobalOptions
    @Option var channel: Int32

    func run() throws {
        var ledger = Ledger()
        ledger.begin("arguments")
        let channel = MonitorChannel(Descriptor(adopting: channel))
        do {
            let monitor = try ContainerMonitor(channel.receive(), ledger: ledger, build: Version.number, log: Logger(label: "microvm"))
            monitor.statusOfError = { ExitStatus(of: $0).rawValue }
            try monitor.abandon(whenClosed: channel.socket)
            monitor.onReady = { try channel.succeed() }
            monitor.onWarning = { channel.warn($0) }
            monitor.onTemplate = { channel.note($0) }
            throw ExitCode(try monitor.run())
        } catch let error where !(error is ExitCode) {
            channel.fail(error)
            throw error
        }
    }
}
