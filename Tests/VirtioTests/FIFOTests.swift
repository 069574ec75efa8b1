import Testing

@testable import Virtio

@Suite("first in, first out")
struct FIFOTests {
    @Test("elements come out in order through growth, compaction and emptying")
    func order() {
        var fifo = FIFO<Int>()
        var next = 0
        var expected = 0
        for round in 0..<2_000 {
            for _ in 0..<round % 7 {
                fifo.append(next)
                next += 1
            }
            for _ in 0..<round % 5 where !fifo.isEmpty {
                #expect(fifo.popFirst() == expected)
                expected += 1
            }
            #expect(fifo.count == next - expected)
            #expect(fifo.first == (fifo.isEmpty ? nil : expected))
        }
        #expect(Array(fifo.contents) == Array(expected..<next))
        fifo.reserve(10)
        #expect(Array(fifo.contents) == Array(expected..<next))
        fifo.removeFirst(.max)
        #expect(fifo.isEmpty)
        #expect(fifo.popFirst() == nil)
        fifo.append(contentsOf: [1, 2, 3])
        fifo.removeFirst(-1)
        fifo.removeFirst(2)
        #expect(Array(fifo.contents) == [3])
    }
}
