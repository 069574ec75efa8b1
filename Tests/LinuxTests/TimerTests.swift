import Linux
import Testing

@Suite struct TimerTests {
    @Test("timers run in the order they are due, not before, and once")
    func order() throws {
        let loop = try EventLoop()
        let start = monotonicNanoseconds()
        var seen: [Int] = []
        var late = true
        loop.schedule(afterNanoseconds: 20_000_000) { seen.append(2) }
        loop.schedule(afterNanoseconds: 5_000_000) { seen.append(1); late = late && monotonicNanoseconds() - start >= 5_000_000 }
        while seen.count < 2 { #expect(try loop.runOnce(milliseconds: 1000)) }
        #expect(seen == [1, 2])
        #expect(late)
        #expect(try loop.runOnce(milliseconds: 0) == false)
    }

    @Test("a cancelled timer does not run, also when an earlier one cancels it")
    func cancel() throws {
        let loop = try EventLoop()
        var seen: [Int] = []
        let second = loop.schedule(afterNanoseconds: 3_000_000) { seen.append(2) }
        loop.schedule(afterNanoseconds: 1_000_000) { seen.append(1); loop.cancel(second) }
        try loop.runOnce(milliseconds: 100)
        try loop.runOnce(milliseconds: 10)
        #expect(seen == [1])
    }

    @Test("a deadline past the end of time never comes")
    func never() throws {
        let loop = try EventLoop()
        loop.schedule(afterNanoseconds: .max) { Issue.record("it came") }
        #expect(try loop.runOnce(milliseconds: 5) == false)
    }
}
