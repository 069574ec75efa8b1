import Glibc
public import Linux
import OCI

/// What the process does that stands for a container on its host: it goes where its monitor says, passes signals on, and
/// ends when told to, or with its monitor.
public struct StandInProcess {
    /// As if killed: its monitor was.
    private static let orphaned: Int32 = 128 + SIGKILL
    private static let messageLimit = 128 << 10

    private let monitor: Descriptor

    /// The command line that makes a process of `microvm` one of these.
    static func arguments(_ monitor: Descriptor) -> [String] { ["microvm", "stand-in", "\(monitor.raw)"] }

    /// Nil if the command line is not of one of these.
    public init?(_ arguments: [String]) {
        guard arguments.count == 3, arguments[1] == "stand-in", let monitor = Int32(arguments[2]), monitor > 2 else { return nil }
        self.monitor = Descriptor(adopting: monitor)
    }

    /// - Returns: its exit status, the container's.
    public func run() throws -> Int32 {
        ignoreBrokenPipes()
        let loop = try EventLoop()
        // From the start: the first process of a PID namespace gets no signal it has not asked for.
        let signals = try SignalForwarder(on: loop) { try? monitor.send(Array("signal \($0)".utf8)) }
        defer { withExtendedLifetime(signals) {} }
        let first = try monitor.receive(limit: Self.messageLimit).bytes
        guard !first.isEmpty else { return Self.orphaned }
        do {
            let namespaces: StandInNamespaces = try JSON.decode(from: first)
            // Nothing it may have been started from stays in use.
            try changeDirectory(to: "/")
            try namespaces.enterRest()
            try monitor.send(Array("ready".utf8))
        } catch {
            try monitor.send(Array("error \(error)".utf8))
        }
        var status: Int32?
        try loop.add(monitor, .readable) { _ in
            let message = (try? monitor.receive(limit: Self.messageLimit).bytes).map { String(decoding: $0, as: UTF8.self) } ?? ""
            status = Int32(message.split(separator: " ").last ?? "") ?? Self.orphaned
        }
        while status == nil { try loop.runOnce() }
        return status ?? Self.orphaned
    }
}
