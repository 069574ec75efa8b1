import ArgumentParser
import OCI
import Sandbox

struct WhyCommand: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "why", abstract: "Show where the time of a container's start went.",
        discussion: "The steps from the command's first instruction to the first byte of output, for the last sandboxes that ended.")

    @OptionGroup var globals: GlobalOptions
    @Flag(help: "Print JSON: spans with their begin and end in nanoseconds.") var json = false
    @Flag(help: "Percentiles of each stage over all starts that are kept, apart for starts from a template and boots.") var all = false
    @Argument(help: ArgumentHelp("The container's id. Default: the one that ended last.", valueName: "id")) var id: String?

    func run() throws {
        if all {
            let summary = LedgerSummary(try LedgerStore(globals.stateRoot()).all())
            return try printOut(json ? JSON.encode(summary, .pretty) + "\n" : summary.description)
        }
        let record = try LedgerStore(globals.stateRoot()).load(id.map(checkedID))
        try printOut(json ? JSON.encode(record, .pretty) + "\n" : LedgerReport(record).description)
    }
}
