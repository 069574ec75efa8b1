/// Many starts at once: how long each stage took in the middle and at the worst, apart for starts from the pool, from a template and boots.
public struct LedgerSummary: Encodable, CustomStringConvertible {
    public struct Stage: Encodable {
        public let name: String
        /// Nanoseconds, as are the others.
        public let p50: UInt64
        public let p90: UInt64
        public let p99: UInt64

        init(_ name: String, _ durations: [UInt64]) {
            let sorted = durations.sorted()
            // The smallest value that so many of a hundred do not exceed.
            func percentile(_ percent: Int) -> UInt64 { sorted[max(0, (sorted.count * percent + 99) / 100 - 1)] }
            self.name = name
            (p50, p90, p99) = (percentile(50), percentile(90), percentile(99))
        }
    }

    public struct Group: Encodable {
        public let kind: String
        public let starts: Int
        /// In the order of a start, "in all" last.
        public let stages: [Stage]
    }

    public let groups: [Group]

    public init(_ records: [LedgerRecord]) {
        // One that made its template first is neither, and one that never got as far says nothing.
        let starts = records.filter { record in record.spans.contains { $0.name == "start" } && !record.spans.contains { $0.name == "template" } }
        let groups = Dictionary(grouping: starts) { record in
            let stages = Set(record.spans.map(\.name))
            return stages.contains("resume") ? "from a template" : stages.contains("pool") ? "from the pool" : "by a boot"
        }
        self.groups = ["from the pool", "from a template", "by a boot"].compactMap { Group($0, groups[$0] ?? []) }
    }

    public var description: String {
        if groups.isEmpty { return "No start is recorded that came to its end.\n" }
        return groups.map(\.description).joined(separator: "\n")
    }
}

extension LedgerSummary.Group: CustomStringConvertible {
    fileprivate init?(_ kind: String, _ records: [LedgerRecord]) {
        guard !records.isEmpty else { return nil }
        self.kind = kind
        starts = records.count
        var names: [String] = []
        var durations: [String: [UInt64]] = [:]
        for record in records {
            for span in record.startSpans {
                if durations[span.name] == nil { names.append(span.name) }
                durations[span.name, default: []].append(span.duration)
            }
        }
        let whole = records.map { $0.startSpans.map(\.end).max() ?? 0 }
        stages = names.map { LedgerSummary.Stage($0, durations[$0] ?? [0]) } + [LedgerSummary.Stage("in all", whole)]
    }

    public var description: String {
        let width = stages.map(\.name.count).max() ?? 0
        func row(_ name: String, _ values: [String]) -> String {
            "  \(name)\(String(repeating: " ", count: width - name.count))" + values.map { rightAligned($0, 11) }.joined() + "\n"
        }
        let rows = stages.map { stage in row(stage.name, [stage.p50, stage.p90, stage.p99].map { "\(seconds($0)) s" }) }
        return "\(starts) \(starts == 1 ? "start" : "starts") \(kind)\n\n" + row("", ["p50", "p90", "p99"]) + rows.joined()
    }
}
