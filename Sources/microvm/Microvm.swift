import ArgumentParser
import Glibc
import Sandbox

@main
struct Microvm: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "microvm",
        abstract: "Run OCI containers, each in a virtual machine of its own.",
        discussion: ExitStatus.help,
        version: Version.text,
        subcommands: [
            Run.self, Create.self, Start.self, StateCommand.self, Kill.self, Delete.self, Exec.self, List.self, PS.self,
            Pause.self, Resume.self, Snapshot.self, Restore.self, Update.self, Events.self, CheckCommand.self, ExplainCommand.self, WhyCommand.self, BootProfileCommand.self,
            TemplateCommand.self, PoolCommand.self, InstallCommand.self, SpecCommand.self, FeaturesCommand.self, VersionCommand.self, Checkpoint.self, Monitor.self,
            ExecMonitor.self,
        ])

    /// Runs the command line; every way out passes here.
    static func main() {
        if let standIn = StandInProcess(CommandLine.arguments) { exit(of: standIn) }
        var command: any ParsableCommand
        do {
            let line = CommandLineArguments.normalized(Array(CommandLine.arguments.dropFirst()))
            command = try parsedByItself(line, namedCommand(line)) ?? parseAsRoot(line)
        } catch {
            exit(withError: error)
        }
        do {
            if let command = command as? any RuntimeCommand { try Log.configure(command.globals, silent: command is Monitor || command is ExecMonitor) }
            try command.run()
        } catch let error where error is ExitCode || error is CleanExit || error is ValidationError {
            exit(withError: error)
        } catch where !(command is any RuntimeCommand) {
            // The parser's own commands: help, completion scripts.
            exit(withError: error)
        } catch {
            Log.report(error)
            let status = (command as? any RuntimeCommand).flatMap(\.failureStatus)
            exit(withError: ExitCode(status ?? ExitStatus(of: error).rawValue))
        }
    }

    /// A container's stand-in, which its monitor starts: parsing the line as people's are takes longer than all it does until it stands.
    private static func exit(of standIn: StandInProcess) -> Never {
        do { Glibc.exit(try standIn.run()) } catch {
            Log.report(error)
            Glibc.exit(ExitStatus(of: error).rawValue)
        }
    }

    /// What the command named has its own parser make of the line, which spares a look at all others. What that cannot, and help, is for all to see.
    private static func parsedByItself(_ line: [String], _ named: (any ParsableCommand.Type)?) -> (any ParsableCommand)? {
        guard let named, named.configuration.subcommands.isEmpty, let command = try? named.parseAsRoot(Array(line.dropFirst())) else { return nil }
        return type(of: command) == named ? command : nil
    }

    /// The command that a line's first word names. Refuses what is no command of ours, in runc's words: with --help behind it the parser would not.
    private static func namedCommand(_ line: [String]) throws(ValidationError) -> (any ParsableCommand.Type)? {
        guard let word = line.first, !word.hasPrefix("-"), word != "help" else { return nil }
        if let named = configuration.subcommands.first(where: { $0._commandName == word }) { return named }
        throw ValidationError("unknown command: No help topic for '\(word)'")
    }
}
