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
}
