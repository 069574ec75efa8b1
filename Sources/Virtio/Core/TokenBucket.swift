/// How much of something a guest may use a second, with a reserve for bursts.
struct TokenBucket {
    /// Most tokens saved up.
    let capacity: Int
    let perSecond: Int
    private(set) var tokens: Int
    private var refilled: UInt64

    /// A full bucket; `now` in nanoseconds of any monotonic clock, as everywhere here.
    init(capacity: Int, perSecond: Int, now: UInt64) {
        self.capacity = capacity
        self.perSecond = perSecond
        tokens = capacity
        refilled = now
    }

    /// Adds what has been earned since the last call.
    mutating func refill(_ now: UInt64) {
        let elapsed = min(now &- refilled, nanoseconds(for: capacity))
        let earned = Int(elapsed) * perSecond / 1_000_000_000
        guard earned > 0 else { return }
        tokens = min(capacity, tokens + earned)
        refilled = now
    }

    /// Uses `count` tokens. The last request may overdraw: later ones wait longer for it.
    mutating func take(_ count: Int) { tokens -= count }

    /// How long it takes to earn `count`.
    func nanoseconds(for count: Int) -> UInt64 {
        UInt64(clamping: count * 1_000_000_000 / perSecond + 1)
    }
}
