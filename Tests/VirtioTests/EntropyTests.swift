import FakeDriver
import Testing

@testable import Virtio

@Suite("entropy device")
struct EntropyTests {
    private let device = EntropyDevice()
    private let driver: FakeDriver

    init() throws {
        driver = try FakeDriver(device)
        try driver.start()
    }

    @Test("a buffer is filled with bytes that differ each time", arguments: FakeQueue.Layout.allCases)
    func fill(layout: FakeQueue.Layout) throws {
        let first = try driver.exchange([], answer: 64, layout: layout, split: 10)
        let second = try driver.exchange([], answer: 64, layout: layout, split: 10)
        #expect(first.count == 64)
        #expect(first != second)
        #expect(first.contains { $0 != 0 })
        #expect(device.metrics.bytes.value == 128)
    }

    @Test("a long buffer is answered short, an empty one with nothing")
    func bounded() throws {
        #expect(try driver.exchange([], answer: 1 << 20).count == 4096)
        #expect(try driver.exchange([1, 2, 3], answer: 0).isEmpty)
        #expect(!driver.needsReset)
    }

    @Test("a guest that asks for ever is slowed down and still served")
    func rate() throws {
        let start = ContinuousClock.now
        // The reserve is 256 KiB; 128 KiB more take an eighth of a second at 1 MiB/s.
        for _ in 0..<96 { #expect(try driver.exchange([], answer: 4096).count == 4096) }
        #expect(ContinuousClock.now - start > .milliseconds(100))
        #expect(device.metrics.pauses.value > 0)
    }

    @Test("a bucket earns with time and never more than it holds")
    func bucket() {
        var bucket = TokenBucket(capacity: 100, perSecond: 1000, now: 0)
        bucket.take(150)
        bucket.refill(30_000_000)
        #expect(bucket.tokens == -20)
        bucket.refill(30_500_000)
        #expect(bucket.tokens == -20)
        bucket.refill(31_000_000)
        #expect(bucket.tokens == -19)
        bucket.refill(.max)
        #expect(bucket.tokens == 81 || bucket.tokens == 100)
        #expect(bucket.nanoseconds(for: 50) == 50_000_001)
    }
}
