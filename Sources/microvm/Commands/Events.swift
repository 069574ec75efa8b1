import AgentAPI
import ArgumentParser
import OCI
import Sandbox

struct Events: EngineCommand {
    static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "Print a container's use of resources, and when it runs out of memory.", discussion: "One JSON object a line, as runc has them.")
    @OptionGroup var globals: GlobalOptions
    @Flag(help: "Print the use now, and end.") var stats = false
    @Option(help: ArgumentHelp("Time between two, such as 5s.", valueName: "time")) var interval = "5s"
    @OptionGroup var container: ContainerArgument

    func run() throws {
        guard let nanoseconds = parseDuration(interval) else { throw Failure(.usage, "--interval: \"\(interval)\" is not a time, such as 5s") }
        let client = try container.handle(globals).client()
        try printStats(client)
        if stats { return }
        watchMemory(client)
        while true {
            do {
                try client.waiter.wait("the next", atMost: nanoseconds) { false }
            } catch let error as SandboxError {
                switch error.kind {
                case .timedOut: try printStats(client)
                case .monitorEnded: return
                default: throw error
                }
            }
        }
    }

    private func printStats(_ client: ControlClient) throws {
        let values = try client.call(AgentMethods.stats, container.request).values
        try printOut(JSON.encode(StatsEvent(id: container.id, data: ContainerStats(values))) + "\n")
    }

    private func watchMemory(_ client: ControlClient) {
        client.callLater(AgentMethods.waitOOM, container.request, deadline: nil) { result in
            guard case .success = result else { return }
            try? printOut((try? JSON.encode(OutOfMemoryEvent(id: container.id))).map { $0 + "\n" } ?? "")
            watchMemory(client)
        }
    }
}

private struct StatsEvent: Encodable {
    var type = "stats"
    let id: String
    let data: ContainerStats
}

private struct OutOfMemoryEvent: Encodable {
    var type = "oom"
    let id: String
}

/// `5s`, `500ms`, `1m`: nanoseconds.
func parseDuration(_ text: String) -> UInt64? {
    for (unit, factor) in [("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)] as [(String, UInt64)]
    where text.hasSuffix(unit) {
        guard let number = UInt64(text.dropLast(unit.count)), number > 0 else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: factor)
        return overflow ? nil : product
    }
    return nil
}
