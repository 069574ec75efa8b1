public import Linux

/// Waiting by running an event loop: signals, streams and other connections are served meanwhile.
public final class Waiter {
    public let loop: EventLoop
    /// Makes every wait fail, now and from now on.
    public private(set) var failure: SandboxError?

    public init(_ loop: EventLoop) {
        self.loop = loop
    }

    /// Only the first counts: what comes after it is in consequence.
    public func fail(_ error: SandboxError) {
        if failure == nil { failure = error }
    }

    /// Runs the loop until `condition` holds.
    ///
    /// - Throws: ``failure`` as soon as there is one, and when the time is up.
    public func wait(_ what: String, atMost nanoseconds: UInt64 = .max, until condition: () -> Bool) throws {
        var expired = false
        let timer = loop.schedule(afterNanoseconds: nanoseconds) { expired = true }
        defer { loop.cancel(timer) }
        while !condition() {
            if let failure { throw failure }
            guard !expired else { throw SandboxError(.timedOut, "waited \(nanoseconds / 1_000_000_000) s for \(what)") }
            try loop.runOnce()
        }
    }
}
