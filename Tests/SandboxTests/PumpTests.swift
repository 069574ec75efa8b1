import Glibc
import Linux
import Testing

@testable import Sandbox

@Suite("Carrying bytes")
struct PumpTests {
    let loop = try! EventLoop()

    init() { ignoreBrokenPipes() }

    func run(_ pump: Pump, until condition: () -> Bool = { false }) throws {
        pump.start()
        for _ in 0..<10_000 where pump.end == nil && !condition() { try loop.runOnce(milliseconds: 1000) }
    }

    @Test("a file's bytes arrive whole, and its end ends the pump")
    func file() throws {
        let file = try makeMemoryFile("source", count: 0)
        let data = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 / 7) }
        try file.writeAll(data)
        let (near, far) = try Descriptor.socketPair()
        let collected = try Collector(far)
        let pump = Pump(from: try HostStream(file.reopened(O_RDONLY), access: O_RDONLY), to: try HostStream(own: near), on: loop)
        pump.onEnd = { _ in try? near.shutdown(.writing) }
        try run(pump)
        #expect(pump.end == .delivered)
        #expect(pump.delivered == 300_000)
        #expect(collected.join() == data)
    }

    @Test("what nobody reads is not read: one buffer at most is held")
    func backPressure() throws {
        let (source, feeder) = try Descriptor.socketPair()
        let (sink, reader) = try Descriptor.socketPair()
        try feeder.setNonBlocking()
        let pump = Pump(from: try HostStream(own: source), to: try HostStream(own: sink), on: loop)
        pump.start()
        var fed = 0
        let chunk = [UInt8](repeating: 1, count: 65536)
        for _ in 0..<1000 {
            if let count = try? feeder.write(chunk) { fed += count } else if try !loop.runOnce(milliseconds: 0) { break }
        }
        #expect(fed < 4 << 20)
        #expect(pump.pending <= 65536 && pump.pending > 0)
        #expect(pump.end == nil)
        withExtendedLifetime(reader) {}
    }

    @Test("a reader that has gone ends the pump before anything is written")
    func readerGone() throws {
        let (source, feeder) = try Descriptor.socketPair()
        var pipe: (reading: Descriptor?, writing: Descriptor) = try Descriptor.pipe()
        let pump = Pump(from: try HostStream(own: source), to: try HostStream(pipe.writing, access: O_WRONLY), on: loop)
        try feeder.writeAll([1])
        pump.start()
        while pump.delivered == 0 { try loop.runOnce(milliseconds: 1000) }
        pipe.reading = nil
        try feeder.writeAll([2])
        try run(pump)
        #expect(pump.end == .sinkClosed)
    }

    @Test("a named pipe's bytes and its end arrive, though its writer has gone before")
    func namedPipe() throws {
        let path = "/tmp/microvm-pump-test-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        try #require(mkfifo(path, 0o600) == 0)
        defer { unlink(path) }
        // Both ways, so that neither open waits; then as a shell opens it.
        var writer: Descriptor? = try Descriptor.open(path, O_RDWR)
        let reader = try Descriptor.open(path, O_RDONLY)
        try writer?.writeAll([1, 2])
        writer = nil
        let (near, far) = try Descriptor.socketPair()
        let pump = Pump(from: try HostStream(reader, access: O_RDONLY), to: try HostStream(own: near), on: loop)
        try run(pump)
        #expect(pump.end == .delivered)
        #expect(try far.read(upTo: 10) == [1, 2])
    }

    @Test("a pump that has ended lets go of both sides, though it lives on")
    func letsGo() throws {
        var (source, feeder): (Descriptor, Descriptor?) = try Descriptor.socketPair()
        let reading: Descriptor
        let pump: Pump
        do {
            let pipe = try Descriptor.pipe()
            reading = pipe.reading
            pump = Pump(from: try HostStream(own: source), to: try HostStream(pipe.writing, access: O_WRONLY), on: loop)
        }
        try feeder?.writeAll([1])
        feeder = nil
        try run(pump)
        #expect(try reading.read(upTo: 10) == [1])
        #expect(try reading.waitReadable(atMost: 1_000_000_000))
        #expect(try reading.read(upTo: 10) == [])
        withExtendedLifetime(pump) {}
    }

    @Test("an inherited pipe is not made non-blocking under its other owners' hands")
    func flags() throws {
        let (reading, writing) = try Descriptor.pipe()
        let stream = try HostStream(writing, access: O_WRONLY)
        #expect(stream.descriptor.raw != writing.raw)
        #expect(fcntl(writing.raw, F_GETFL) & O_NONBLOCK == 0)
        #expect(fcntl(stream.descriptor.raw, F_GETFL) & O_NONBLOCK != 0)
        withExtendedLifetime(reading) {}
    }

    @Test("a source that hangs up while the sink is full does not spin")
    func hangup() throws {
        var (source, feeder): (Descriptor, Descriptor?) = try Descriptor.socketPair()
        let (sink, reader) = try Descriptor.socketPair()
        let pump = Pump(from: try HostStream(own: source), to: try HostStream(own: sink), on: loop)
        try feeder?.setNonBlocking()
        pump.start()
        for _ in 0..<1000 { if (try? feeder?.write([UInt8](repeating: 0, count: 65536))) == nil, try !loop.runOnce(milliseconds: 0) { break } }
        feeder = nil
        #expect(try loop.runOnce(milliseconds: 50) == false)
        withExtendedLifetime(reader) {}
    }
}

/// Reads a socket to its end on a thread of its own.
final class Collector: @unchecked Sendable {
    private var bytes: [UInt8] = []
    private var thread: Linux.Thread?

    init(_ socket: Descriptor) throws {
        thread = try Linux.Thread("collector") { [weak self] in
            let all = try? socket.readToEnd()
            self?.bytes = all ?? []
        }
    }

    func join() -> [UInt8] {
        thread?.join()
        return bytes
    }
}
