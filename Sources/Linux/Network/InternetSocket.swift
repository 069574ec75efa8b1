import CLinux
import Glibc

/// Sockets of TCP and UDP at IPv4 addresses. None of them waits.
extension Descriptor {
    public enum InternetProtocol: Sendable { case tcp, udp }

    /// Bound to an address of this host: one of TCP listens.
    public static func internetSocket(_ kind: InternetProtocol, at address: IPAddress, port: UInt16) throws(SystemError) -> Descriptor {
        let socket = try internetSocket(kind)
        var on: Int32 = 1
        try check(unsafe setsockopt(socket.raw, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size)), "reuse address")
        try check(unsafe withInternetAddress(address, port) { unsafe Glibc.bind(socket.raw, $0, $1) }, "bind \(address):\(port)")
        if kind == .tcp { try check(Glibc.listen(socket.raw, 16), "listen at \(address):\(port)") }
        return socket
    }

    /// On its way to be connected: it can be written to when it is.
    public static func internetSocket(_ kind: InternetProtocol, to address: IPAddress, port: UInt16) throws(SystemError) -> Descriptor {
        let socket = try internetSocket(kind)
        try socket.finishConnecting(unsafe withInternetAddress(address, port) { unsafe Glibc.connect(socket.raw, $0, $1) }, "connect to \(address):\(port)")
        return socket
    }

    private static func internetSocket(_ kind: InternetProtocol) throws(SystemError) -> Descriptor {
        let type = kind == .tcp ? SOCK_STREAM : SOCK_DGRAM
        return Descriptor(adopting: try check(socket(AF_INET, Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0), "socket"))
    }

    /// Where a datagram came from.
    public struct DatagramSender: Sendable {
        fileprivate let address: IPAddress
        fileprivate let port: UInt16
    }

    public func receiveDatagram(limit: Int) throws(SystemError) -> (bytes: [UInt8], from: DatagramSender) {
        var bytes = [UInt8](repeating: 0, count: limit)
        var address = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let count = try checkRetrying("receive datagram") {
            unsafe withUnsafeMutablePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe recvfrom(raw, &bytes, limit, 0, $0, &size) }
            }
        }
        bytes.removeLast(limit - count)
        let sender = IPAddress((0..<4).map { UInt8(truncatingIfNeeded: address.sin_addr.s_addr >> (8 * $0)) })
        guard let sender else { throw SystemError("receive datagram", .invalidArgument) }
        return (bytes, DatagramSender(address: sender, port: UInt16(bigEndian: address.sin_port)))
    }

    public func sendDatagram(_ bytes: [UInt8], to sender: DatagramSender) throws(SystemError) {
        try checkRetrying("send datagram") {
            unsafe withInternetAddress(sender.address, sender.port) { unsafe sendto(raw, bytes, bytes.count, 0, $0, $1) }
        }
    }
}

/// Calls `body` with the C address.
private func withInternetAddress<Result>(_ address: IPAddress, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    var wanted = sockaddr_in()
    wanted.sin_family = sa_family_t(AF_INET)
    wanted.sin_port = port.bigEndian
    for (index, byte) in address.bytes.prefix(4).enumerated() { wanted.sin_addr.s_addr |= UInt32(byte) << (8 * UInt32(index)) }
    return unsafe withUnsafePointer(to: wanted) {
        unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
}
