import ArgumentParser

@main
struct Microvm: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "microvm",
        abstract: "Run OCI containers, each in a virtual machine of its own.",
        discussion: ExitStatus.help,
        version: Version.text,
        subcommands: [
            Run.self, CheckCommand.self, ExplainCommand.self, WhyCommand.self, SpecCommand.self, FeaturesCommand.self,
            VersionCommand.self, Monitor.self,
        ])

    /// Runs the command line; every way out passes here.
    static func main() {
        var command: any ParsableCommand
        do {
            command = try parseAsRoot(CommandLineArguments.normalized(Array(CommandLine.arguments.dropFirst())))
        } catch {
            exit(withError: error)
        }
        do {
            if let command = command as? any RuntimeCommand { try Log.configure(command.globals, silent: command is Monitor) }
            try command.run()
        } catch let error where error is ExitCode || error is CleanExit || error is ValidationError {
            exit(withError: error)
        } catch {
            Log.report(error)
            exit(withError: ExitCode(ExitStatus(of: error).rawValue))
        }
    }
}
