import Testing

@testable import TTRPC

@Suite struct FrameTests {
    static let sample = Frame(stream: 0x0102_0305, kind: .request, flags: 1, payload: [9, 8, 7])

    @Test("a frame is ten bytes of big-endian header and the payload")
    func encoding() {
        #expect(Self.sample.encoded == [0, 0, 0, 3, 1, 2, 3, 5, 1, 1, 9, 8, 7])
    }

    @Test("frames come back whole however the bytes are cut", arguments: [1, 2, 9, 10, 11, 13, 26, 40])
    func reassembly(size: Int) {
        let frames = [Self.sample, Frame(stream: 3, kind: .response, payload: []), Self.sample]
        let bytes = frames.flatMap(\.encoded)
        var decoder = FrameDecoder()
        var seen: [FrameDecoder.Event] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            decoder.feed(bytes[start..<min(start + size, bytes.count)])
            while let event = decoder.next() { seen.append(event) }
        }
        #expect(seen == frames.map { .frame($0) })
    }

    @Test("an oversize payload is announced and skipped, and the next frame is read", arguments: [1, 7, 1000, 100_000])
    func oversize(size: Int) {
        let big = [UInt8](repeating: 0x55, count: 70_000)
        let bytes = Frame(stream: 1, kind: .request, payload: big).encoded + Self.sample.encoded
        var decoder = FrameDecoder(limit: 65_536)
        var seen: [FrameDecoder.Event] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            decoder.feed(bytes[start..<min(start + size, bytes.count)])
            while let event = decoder.next() { seen.append(event) }
        }
        #expect(seen == [.oversize(stream: 1, type: 1, length: 70_000), .frame(Self.sample)])
    }

    @Test("a payload of exactly the limit is accepted")
    func exactLimit() {
        let frame = Frame(stream: 1, kind: .request, payload: [UInt8](repeating: 1, count: 64))
        var decoder = FrameDecoder(limit: 64)
        decoder.feed(frame.encoded)
        #expect(decoder.next() == .frame(frame))
    }

    @Test("a header that claims four gigabytes costs no memory")
    func hugeClaim() {
        var decoder = FrameDecoder()
        decoder.feed([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 1, 0])
        #expect(decoder.next() == .oversize(stream: 1, type: 1, length: Int(UInt32.max)))
        for _ in 0..<100 { decoder.feed([UInt8](repeating: 0, count: 65_536)) }
        #expect(decoder.next() == nil)
    }
}
