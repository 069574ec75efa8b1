import AgentAPI
import Glibc
import Linux
import Testing

@testable import Sandbox

@Suite("A process's streams")
struct ProcessStreamsTests {
    let loop = try! EventLoop()

    init() { ignoreBrokenPipes() }

    /// A guest that takes one stream, and keeps it open whatever happens.
    ///
    /// - Parameter isError: it is the standard error, not the standard output.
    private func oneStream(isError: Bool = false, _ body: (ProcessStreams, Descriptor, _ output: Descriptor) throws -> Void) throws {
        var template = Array("/tmp/microvm-streams.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError.current("mkdtemp") }
        let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer {
            unlink("\(directory)/vsock")
            rmdir(directory)
        }
        let listener = try Descriptor.listening(at: .unix("\(directory)/vsock"))
        let (near, far) = try Descriptor.socketPair()
        let guest = try Thread("guest") {
            guard let socket = try? listener.accept() else { return }
            for expected in [Array("CONNECT \(AgentAddress.streamPort)\n".utf8).count, 8] {
                var left = expected
                while left > 0, let part = try? socket.read(upTo: left), !part.isEmpty { left -= part.count }
                if expected != 8 { try? socket.writeAll("OK 7\n") }
            }
            while let bytes = try? far.read(upTo: 100), !bytes.isEmpty { try? socket.writeAll(bytes) }
        }
        defer { guest.join() }
        let output = try Descriptor.pipe()
        let stream = try HostStream(output.writing, access: O_WRONLY)
        let streams = ProcessStreams(isError ? .init(standardError: stream) : .init(standardOutput: stream), on: loop)
        defer { streams.stop() }
        _ = try streams.open(vsock: "\(directory)/vsock")
        try body(streams, near, output.reading)
        try near.shutdown(.both)
    }

    private func end(_ stdout: UInt64) -> WaitResponse {
        .with { $0.output.stdout = stdout }
    }

    @Test("output that its end has announced is waited for, and a stream that something else holds open is not")
    func announced() throws {
        try oneStream { streams, guest, output in
            loop.schedule(afterNanoseconds: 200_000_000) { try? guest.writeAll("hello\n") }
            let before = monotonicNanoseconds()
            let isComplete = try streams.drain(Waiter(loop), of: end(6))
            #expect(isComplete)
            #expect(monotonicNanoseconds() - before < 5_000_000_000)
            let bytes = try output.read(upTo: 100)
            #expect(bytes == Array("hello\n".utf8))
        }
    }

    @Test("a standard error without a standard output is waited for by its own count")
    func errorsOnly() throws {
        try oneStream(isError: true) { streams, guest, output in
            loop.schedule(afterNanoseconds: 200_000_000) { try? guest.writeAll("oops\n") }
            let isComplete = try streams.drain(Waiter(loop), of: .with { $0.output.stdout = 7; $0.output.stderr = 5 })
            #expect(isComplete)
            let bytes = try output.read(upTo: 100)
            #expect(bytes == Array("oops\n".utf8))
        }
    }

    @Test("the null device is known by its numbers, not by its name")
    func null() throws {
        let name = "/tmp/microvm-null-\(getpid())"
        defer { unlink(name) }
        #expect(symlink("/dev/null", name) == 0)
        #expect(try Descriptor.open(name, O_RDWR).isNullDevice)
        #expect(try !Descriptor.open("/dev/zero", O_RDONLY).isNullDevice)
        #expect(try !Descriptor.open("/dev", O_RDONLY).isNullDevice)
        #expect(try !Descriptor.pipe().reading.isNullDevice)
    }

    @Test("nobody waits for a process without output")
    func silent() throws {
        try oneStream { streams, _, _ in
            let before = monotonicNanoseconds()
            let isComplete = try streams.drain(Waiter(loop), of: end(0))
            #expect(isComplete)
            #expect(monotonicNanoseconds() - before < 5_000_000_000)
        }
    }
}
