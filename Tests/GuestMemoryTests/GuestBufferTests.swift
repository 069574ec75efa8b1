import GuestMemory
import Linux
import Testing

@Suite("guest buffers")
struct GuestBufferTests {
    private let memory: GuestMemory

    init() throws {
        memory = try GuestMemory.allocate([(0, 1 << 20), (0x1_0000_0000, 1 << 16)]).memory
    }

    /// A buffer of slices of the given lengths, apart in guest memory and in both regions.
    private func buffer(_ counts: [Int]) throws -> GuestBuffer {
        GuestBuffer(
            try counts.enumerated().map { index, count in
                try memory.slice(UInt64(index % 2) * 0x1_0000_0000 + UInt64(index * 1024), UInt64(count))
            })
    }

    private static let splits: [[Int]] = [[32], [1, 31], [7, 8, 9, 8], [0, 3, 0, 0, 29, 0], Array(repeating: 1, count: 32)]

    @Test("what is written across slices is read back across them", arguments: splits)
    func roundTrip(split: [Int]) throws {
        var writer = try buffer(split)
        try writer.write(UInt8(1))
        try writer.write(UInt64(0x1122_3344_5566_7788))
        try writer.write(UInt16(0xabcd))
        try writer.write((0..<17 as Range<UInt8>).map { $0 })
        try writer.write(UInt32(0xdead_beef))
        #expect(writer.remaining == 0)
        var reader = try buffer(split)
        #expect(try reader.read(UInt8.self) == 1)
        #expect(try reader.read(UInt64.self) == 0x1122_3344_5566_7788)
        #expect(try reader.read(UInt16.self) == 0xabcd)
        #expect(try reader.readBytes(17) == (0..<17).map { $0 })
        #expect(try reader.read(UInt32.self) == 0xdead_beef)
        #expect(reader.remaining == 0)
    }

    @Test("take and skip move over slices and leave the rest", arguments: splits)
    func takeAndSkip(split: [Int]) throws {
        var writer = try buffer(split)
        try writer.write((0..<32 as Range<UInt8>).map { $0 })
        var reader = try buffer(split)
        try reader.skip(5)
        var taken = try reader.take(10)
        #expect(taken.remaining == 10)
        #expect(reader.remaining == 17)
        #expect(try taken.readBytes(10) == (5..<15).map { $0 })
        #expect(try reader.readBytes(17) == (15..<32).map { $0 })
        #expect(try reader.take(0).remaining == 0)
        try reader.skip(0)
    }

    @Test("the remainder of one buffer continues another", arguments: splits)
    func appendRemainder(split: [Int]) throws {
        var writer = try buffer(split)
        try writer.write((0..<32 as Range<UInt8>).map { $0 })
        var source = try buffer(split)
        try source.skip(9)
        var target = GuestBuffer()
        target.append(remainderOf: source)
        target.append(remainderOf: source)
        #expect(source.remaining == 23)
        #expect(target.remaining == 46)
        #expect(try target.readBytes(46) == Array(9..<32) + Array(9..<32))
        try source.skip(23)
        target.append(remainderOf: source)
        #expect(target.remaining == 0)
    }

    @Test("too much is refused and moves nothing", arguments: splits)
    func tooShort(split: [Int]) throws {
        var buffer = try buffer(split)
        try buffer.skip(30)
        let error = GuestMemoryError.bufferTooShort(needed: 4, remaining: 2)
        #expect(throws: error) { try buffer.read(UInt32.self) }
        #expect(throws: error) { try buffer.write(UInt32(1)) }
        #expect(throws: error) { try buffer.readBytes(4) }
        #expect(throws: error) { try buffer.write([1, 2, 3, 4]) }
        #expect(throws: error) { try buffer.skip(4) }
        #expect(throws: error) { try buffer.take(4) }
        for count in [-1, Int.min, Int.max] {
            #expect(throws: GuestMemoryError.self) { try buffer.skip(count) }
            #expect(throws: GuestMemoryError.self) { try buffer.take(count) }
            #expect(throws: GuestMemoryError.self) { try buffer.readBytes(count) }
        }
        #expect(buffer.remaining == 2)
    }

    @Test("an empty buffer holds nothing, and one of empty slices is not empty but holds nothing")
    func empty() throws {
        var nothing = GuestBuffer()
        #expect(nothing.isEmpty && nothing.remaining == 0)
        #expect(throws: GuestMemoryError.self) { try nothing.read(UInt8.self) }
        var zeroes = try buffer([0, 0])
        #expect(!zeroes.isEmpty && zeroes.remaining == 0)
        #expect(throws: GuestMemoryError.self) { try zeroes.write(UInt8(1)) }
        #expect(try zeroes.fillWithRandomBytes(count: 10) == 0)
        #expect(try zeroes.readBytes(0) == [])
    }

    @Test("a buffer that was emptied starts anew")
    func reuse() throws {
        var buffer = try buffer([4, 4])
        try buffer.skip(6)
        buffer.removeAll()
        #expect(buffer.isEmpty && buffer.remaining == 0)
        buffer.append(try memory.slice(0, 3))
        try buffer.write([9, 8, 7])
        #expect(try memory.slice(0, 3).bytes(count: 3) == [9, 8, 7])
    }

    @Test("random bytes fill as many as asked for", arguments: splits)
    func random(split: [Int]) throws {
        var buffer = try buffer(split)
        #expect(try buffer.fillWithRandomBytes(count: 20) == 20)
        #expect(buffer.remaining == 12)
        #expect(try buffer.fillWithRandomBytes(count: 100) == 12)
        var reader = try self.buffer(split)
        #expect(Set(try reader.readBytes(32)).count > 8)
    }

    // MARK: Files

    @Test("files are read into and written from slices at a position", arguments: splits)
    func files(split: [Int]) throws {
        let file = try makeMemoryFile("test", count: 0)
        try file.writeAll((0..<100 as Range<UInt8>).map { $0 })
        var target = try buffer(split)
        #expect(try target.fill(from: file, at: 10, count: 20) == 20)
        #expect(target.remaining == 12)
        #expect(try target.fill(from: file, at: 30, count: 100) == 12)
        #expect(try target.fill(from: file, at: 30, count: 100) == 0)
        var source = try buffer(split)
        try source.skip(2)
        #expect(try source.drain(to: file, at: 200, count: 25) == 25)
        #expect(source.remaining == 5)
        #expect(try file.read(upTo: 25, at: 200) == (12..<37).map { $0 })
    }

    @Test("a short file is a short read, and the cursor stands where it ended")
    func shortFile() throws {
        let file = try makeMemoryFile("test", count: 10)
        var target = try buffer([7, 7, 7])
        #expect(try target.fill(from: file, at: 5, count: 21) == 5)
        #expect(target.remaining == 16)
        #expect(try target.fill(from: file, at: 10, count: 16) == 0)
    }

    @Test("streams need no position, and say when they would block")
    func streams() throws {
        let (reading, writing) = try Descriptor.pipe()
        try reading.setNonBlocking()
        var source = try buffer([3, 5])
        try source.write((1...8 as ClosedRange<UInt8>).map { $0 })
        source = try buffer([3, 5])
        #expect(try source.drain(to: writing, count: 8) == 8)
        var target = GuestBuffer([try memory.slice(5000, 2), try memory.slice(6000, 100)])
        #expect(try target.fill(from: reading, count: 102) == 8)
        #expect(try memory.slice(6000, 6).bytes(count: 6) == [3, 4, 5, 6, 7, 8])
        #expect(throws: SystemError("read into guest memory", .wouldBlock)) { try target.fill(from: reading, count: 1) }
        #expect(target.remaining == 94)
    }

    @Test("a transfer of more slices than one call takes comes back short, and the next goes on")
    func manySlices() throws {
        let file = try makeMemoryFile("test", count: 0)
        var source = GuestBuffer(try (0..<1500).map { try memory.slice(UInt64($0), 1) })
        #expect(try source.drain(to: file, at: 0, count: 1500) == 1024)
        #expect(try source.drain(to: file, at: 1024, count: 1500) == 476)
        #expect(try file.status().st_size == 1500)
    }

    @Test("an error from the file moves nothing")
    func fileError() throws {
        let (reading, writing) = try Descriptor.pipe()
        var buffer = try buffer([8])
        #expect(throws: SystemError("write from guest memory", .badFileDescriptor)) { try buffer.drain(to: reading, count: 8) }
        #expect(throws: SystemError("read into guest memory", .badFileDescriptor)) { try buffer.fill(from: writing, count: 8) }
        #expect(buffer.remaining == 8)
    }

    @Test("pages of a file in a window are carried by system calls, also where the file has ended, and cannot be touched otherwise")
    func window() throws {
        let start: UInt64 = 0x2_0000_0000
        let window = try MappingWindow(count: 4 * 4096)
        memory.addWindow(window.mapping, at: start)
        let shown = try makeMemoryFile("shown", count: 2 * 4096)
        _ = try shown.write([UInt8](repeating: 5, count: 4096), at: 4096)
        try window.show(shown, from: 0, count: 2 * 4096, at: 4096, isWritable: false)
        let target = try makeMemoryFile("target", count: 0)

        var buffer = GuestBuffer([try memory.slice(0, 10), try memory.buffer(start + 2 * 4096, 4096)])
        #expect(try buffer.drain(to: target, at: 0, count: 5000) == 4106)
        #expect(try target.read(upTo: 20, at: 0) == [UInt8](repeating: 0, count: 10) + [UInt8](repeating: 5, count: 10))

        var alone = GuestBuffer([try memory.buffer(start + 4096, 100)])
        #expect(throws: GuestMemoryError.notMemory) { try alone.read(UInt32.self) }
        #expect(throws: GuestMemoryError.notMemory) { try alone.write(UInt32(1)) }
        // Shown to be read only; shown no longer; the file cut off.
        #expect(throws: SystemError.self) { try alone.fill(from: target, at: 0, count: 10) }
        var hidden = GuestBuffer([try memory.buffer(start, 100)])
        #expect(throws: SystemError.self) { try hidden.drain(to: target, at: 0, count: 100) }
        try shown.truncate(to: 0)
        #expect(throws: SystemError.self) { try alone.drain(to: target, at: 0, count: 100) }

        #expect(throws: GuestMemoryError.self) { try memory.slice(start, 1) }
        for (address, count) in [(start - 1, 2), (start + 4 * 4096, 1), (start, 4 * 4096 + 1), (.max, 1), (start + 1, .max)] as [(UInt64, UInt64)] {
            #expect(throws: GuestMemoryError.outOfRange(address: address, count: count)) { try memory.buffer(address, count) }
        }
    }
}
