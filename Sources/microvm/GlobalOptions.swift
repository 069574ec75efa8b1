import ArgumentParser

/// A subcommand: each takes the global options, before its name (as runc wants them) or after.
protocol RuntimeCommand: ParsableCommand {
    var globals: GlobalOptions { get }
}

struct GlobalOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Directory of the sandboxes' state.", discussion: "Default: /run/microvm, or $XDG_RUNTIME_DIR/microvm when not root.", valueName: "dir"))
    var root: String?

    @Option(help: ArgumentHelp("Append log lines to this file; errors still reach stderr.", valueName: "file"))
    var log: String?

    @Option(help: ArgumentHelp("How log lines look.", valueName: "format"))
    var logFormat: LogFormat = .text

    @Flag(help: "Log what the sandbox does, step by step.")
    var debug = false
}

enum LogFormat: String, ExpressibleByArgument, CaseIterable {
    case text, json
}
