import ArgumentParser
import Sandbox

/// A subcommand: each takes the global options, before its name (as runc wants them) or after.
protocol RuntimeCommand: ParsableCommand {
    var globals: GlobalOptions { get }
    /// Status of every failure, where engines expect one; nil: by kind.
    var failureStatus: Int32? { get }
}

extension RuntimeCommand {
    var failureStatus: Int32? { nil }
}

/// A command of runc's: whatever fails, its status is 1.
protocol EngineCommand: RuntimeCommand {}

extension EngineCommand {
    var failureStatus: Int32? { 1 }
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

    @Option(
        help: ArgumentHelp(
            "Settings file.", discussion: "Default: $XDG_CONFIG_HOME/microvm/config.toml when not root, or /etc/microvm/config.toml.", valueName: "file"))
    var settings: String?

    func readSettings() throws -> Settings { try Settings.load(settings) }

    func stateRoot() throws -> StateRoot {
        try StateRoot(root)
    }

    /// As a monitor gets them: it has the root already, and its standard error is the container's.
    var forMonitor: [String] {
        guard let log else { return [] }
        return ["--log", absolutePath(log), "--log-format", logFormat.rawValue] + (debug ? ["--debug"] : [])
    }
}

enum LogFormat: String, ExpressibleByArgument, CaseIterable {
    case text, json
}
