import Synchronization

/// Which port the next connection from the host comes from.
///
/// A restored guest still has the sockets of its connections, until their owners have noticed their end, and refuses a new connection
/// that looks like one of them: ports go on where they were.
final class VsockHostPorts: Sendable {
    /// Firecracker's: above what programs listen on.
    static let range: Range<UInt32> = 1 << 30..<1 << 31

    private let next = Atomic<UInt32>(range.lowerBound)

    var position: UInt32 { next.load(ordering: .relaxed) }

    /// For the device's thread.
    func take() -> UInt32 {
        let port = position
        next.store(port + 1 < Self.range.upperBound ? port + 1 : Self.range.lowerBound, ordering: .relaxed)
        return port
    }

    /// - Returns: false for what is no such port.
    func set(_ position: UInt32) -> Bool {
        guard Self.range.contains(position) else { return false }
        next.store(position, ordering: .relaxed)
        return true
    }
}
