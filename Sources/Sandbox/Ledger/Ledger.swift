import Linux

/// Where the time of a start went: stages one after the other, from the process's beginning to its end.
///
/// Always on. A stage costs one clock reading and one array element.
public struct Ledger: Sendable {
    /// One stage, in nanoseconds since the process began.
    public struct Span: Codable, Sendable, Equatable {
        public let name: String
        public let start: UInt64
        public let end: UInt64

        public var duration: UInt64 { end - start }
    }

    /// When the process that starts the container began, by the monotonic clock.
    private let origin: UInt64
    /// The same moment in nanoseconds since the epoch.
    private let wallClock: UInt64
    public private(set) var spans: [Span] = []
    private var current: (name: String, start: UInt64)

    /// Begins with the stage in which the program itself is loaded.
    public init() {
        self.init(origin: processStartNanoseconds())
    }

    init(origin: UInt64) {
        let now = monotonicNanoseconds()
        self.origin = min(origin, now)
        wallClock = wallClockNanoseconds() - (now - self.origin)
        current = ("process", self.origin)
    }

    /// Ends the current stage and begins the next, now or at `time` (monotonic; moved into the current stage if it lies outside).
    public mutating func begin(_ name: String, at time: UInt64 = monotonicNanoseconds()) {
        end(at: time)
        current.name = name
    }

    /// Ends the current stage. What follows belongs to none until ``begin(_:at:)``.
    private mutating func end(at time: UInt64) {
        let time = max(current.start, min(time, monotonicNanoseconds()))
        spans.append(Span(name: current.name, start: current.start - origin, end: time - origin))
        current.start = time
    }

    /// The stages up to now, as they are stored.
    public func record(id: String) -> LedgerRecord {
        var copy = self
        copy.end(at: monotonicNanoseconds())
        return LedgerRecord(id: id, started: timestamp(wallClock), spans: copy.spans)
    }
}

/// A ledger as it is stored.
public struct LedgerRecord: Codable, Sendable, Equatable {
    public var version = 1
    public let id: String
    /// RFC 3339.
    public let started: String
    public let spans: [Ledger.Span]
}
