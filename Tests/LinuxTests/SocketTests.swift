import Glibc
import Linux
import Testing

@Suite
struct SocketTests {
    @Test("a listener keeps hundreds of connections until it comes to accept them")
    func hundredsOfConnectionsWait() throws {
        let path = "/tmp/microvm-backlog-\(getpid())"
        defer { unlink(path) }
        let listener = try Descriptor.listening(at: .unix(path))
        // What fifty execs at once, each with its three streams and its call, bring at most.
        let connections = try (0..<200).map { _ in try Descriptor.connected(to: .unix(path), nonBlocking: true) }
        for _ in connections { _ = try listener.accept() }
    }

    @Test("a connection waits or does not, as it was accepted, whatever its listener does")
    func accepted() throws {
        let path = "/tmp/microvm-accept-\(getpid())"
        defer { unlink(path) }
        let listener = try Descriptor.listening(at: .unix(path))
        try listener.setNonBlocking()
        let connections = try (0..<2).map { _ in try Descriptor.connected(to: .unix(path)) }
        #expect(try !isNonBlocking(listener.accept()))
        #expect(try isNonBlocking(listener.accept(nonBlocking: true)))
        #expect(connections.count == 2)
    }

    @Test("of a pipe the ends asked for do not wait, and the other one does")
    func pipes() throws {
        for (ends, expected) in [(Descriptor.Direction.reading, [true, false]), (.writing, [false, true]), (.both, [true, true])] {
            let pipe = try Descriptor.pipe(nonBlocking: ends)
            #expect(try [isNonBlocking(pipe.reading), isNonBlocking(pipe.writing)] == expected)
            #expect(try pipe.reading.accessMode() == O_RDONLY && pipe.writing.accessMode() == O_WRONLY)
        }
    }

    private func isNonBlocking(_ descriptor: Descriptor) throws -> Bool { try descriptor.openFlags() & O_NONBLOCK != 0 }
}
