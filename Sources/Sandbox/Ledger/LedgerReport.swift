/// A ledger as a table for people.
public struct LedgerReport: CustomStringConvertible {
    private static let barWidth = 40

    private let record: LedgerRecord

    public init(_ record: LedgerRecord) {
        self.record = record
    }

    /// The stages of the start: what comes before the container's program runs.
    private var startSpans: [Ledger.Span] { record.startSpans }

    public var slowest: Ledger.Span? { startSpans.max { $0.duration < $1.duration } }

    /// One line: `0.812 s to the first output: plan 0.002, boot 0.790, …`.
    public var line: String {
        let parts = startSpans.map { "\($0.name) \(seconds($0.duration))" }
        return "\(record.id): started in \(seconds(total)) s: \(parts.joined(separator: ", "))"
    }

    private var total: UInt64 { startSpans.map(\.end).max() ?? 0 }

    public var description: String {
        let nameWidth = record.spans.map(\.name.count).max() ?? 0
        let scale = max(1, total)
        var lines = ["\(record.id), \(record.started)", ""]
        for span in record.spans {
            let name = span.name + String(repeating: " ", count: nameWidth - span.name.count)
            let inStart = startSpans.contains(span)
            lines.append("  \(name)  \(rightAligned(seconds(span.duration), 9)) s  \(inStart ? bar(span, scale) : "")".trimmedAtEnd)
        }
        lines.append("")
        if let slowest {
            lines.append("Started in \(seconds(total)) s; the slowest step was \(slowest.name): \(seconds(slowest.duration)) s, \(100 * slowest.duration / scale) %.")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private func bar(_ span: Ledger.Span, _ scale: UInt64) -> String {
        let width = UInt64(Self.barWidth)
        let start = Int(min(width - 1, span.start * width / scale))
        let end = Int(min(width, max(span.end * width / scale, UInt64(start + 1))))
        return String(repeating: " ", count: start) + String(repeating: "▇", count: end - start)
    }
}

extension LedgerRecord {
    /// Stages that belong to the container, or to its end.
    private static let afterStart: Set = ["program", "end"]

    /// The stages of the start: what comes before the container's program runs.
    var startSpans: [Ledger.Span] { spans.filter { !Self.afterStart.contains($0.name) } }
}

func seconds(_ nanoseconds: UInt64) -> String {
    let milliseconds = (nanoseconds + 500_000) / 1_000_000
    let fraction = "\(milliseconds % 1000)"
    return "\(milliseconds / 1000)." + String(repeating: "0", count: 3 - fraction.count) + fraction
}

func rightAligned(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
}

extension String {
    fileprivate var trimmedAtEnd: String {
        var copy = self
        while copy.hasSuffix(" ") { copy.removeLast() }
        return copy
    }
}
