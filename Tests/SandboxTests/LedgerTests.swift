import Linux
import OCI
import Testing

@testable import Sandbox

@Suite("The start ledger")
struct LedgerTests {
    @Test("stages follow each other without gaps, whatever times are claimed")
    func stages() {
        var ledger = Ledger()
        ledger.begin("one")
        ledger.begin("early", at: 0)
        ledger.begin("late", at: .max)
        let spans = ledger.record(id: "x").spans
        #expect(spans.map(\.name) == ["process", "one", "early", "late"])
        #expect(spans[0].start == 0)
        for (span, next) in zip(spans, spans.dropFirst()) { #expect(span.end == next.start && span.start <= span.end) }
    }

    let record = LedgerRecord(
        id: "c", started: "2026-01-01T00:00:00.000000000Z",
        spans: [
            Ledger.Span(name: "plan", start: 0, end: 1_000_000), Ledger.Span(name: "kernel", start: 1_000_000, end: 900_000_000),
            Ledger.Span(name: "start", start: 900_000_000, end: 1_000_000_000), Ledger.Span(name: "program", start: 1_000_000_000, end: 99_000_000_000),
        ])

    @Test("the report names the slowest step of the start, not the program's own time")
    func report() {
        let report = LedgerReport(record)
        #expect(report.slowest?.name == "kernel")
        #expect(report.description.contains("Started in 1.000 s; the slowest step was kernel: 0.899 s, 89 %."))
        #expect(report.line == "c: started in 1.000 s: plan 0.001, kernel 0.899, start 0.100")
    }

    @Test("ledgers outlive their sandboxes, and only so many are kept")
    func store() throws {
        try withStateRoot { root in
            let store = LedgerStore(root)
            #expect(throws: SandboxError.self) { try store.load(nil) }
            for index in 0..<(LedgerStore.limit + 6) {
                try store.save(LedgerRecord(id: "c\(index)", started: "", spans: record.spans))
            }
            #expect(try Descriptor.open("\(root.path)/.ledgers", 0).entryNames().count == LedgerStore.limit)
            #expect(try store.load(nil).spans == record.spans)
            #expect(try store.load("c\(LedgerStore.limit + 5)").id == "c\(LedgerStore.limit + 5)")
            #expect(throws: SandboxError.self) { try store.load("nobody") }
        }
    }

    @Test("percentiles are taken apart for starts from a template and boots; starts that made their template count for neither")
    func summary() {
        func record(_ stage: String, _ milliseconds: UInt64, with other: String? = nil) -> LedgerRecord {
            let end = milliseconds * 1_000_000
            let others = other.map { [Ledger.Span(name: $0, start: 0, end: 0)] } ?? []
            return LedgerRecord(
                id: "c", started: "",
                spans: others + [
                    Ledger.Span(name: stage, start: 0, end: end), Ledger.Span(name: "start", start: end, end: end),
                    Ledger.Span(name: "end", start: end, end: end * 9),
                ])
        }
        let restored = (1...100).map { record("resume", $0) }
        let summary = LedgerSummary(restored.shuffled() + [record("kernel", 7000), record("resume", 9, with: "template")])
        #expect(LedgerSummary(restored + [record("pool", 1), record("renew", 1, with: "pool")]).groups.map(\.starts) == [2, 100])
        // One that was taken, and was of no use.
        #expect(LedgerSummary([record("resume", 9, with: "pool")]).groups.map(\.kind) == ["from a template"])
        #expect(summary.groups.map(\.kind) == ["from a template", "by a boot"])
        #expect(summary.groups.map(\.starts) == [100, 1])
        #expect(summary.groups[0].stages.map(\.name) == ["resume", "start", "in all"])
        let whole = summary.groups[0].stages[2]
        #expect([whole.p50, whole.p90, whole.p99] == [50_000_000, 90_000_000, 99_000_000])
        #expect(summary.groups[1].stages[0].p99 == 7_000_000_000)
        #expect(summary.description.contains("  in all    0.050 s    0.090 s    0.099 s"))
        #expect(LedgerSummary([]).groups.isEmpty)
    }
}
