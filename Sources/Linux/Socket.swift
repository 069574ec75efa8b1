import CLinux
import Glibc

/// An address a stream socket can have here.
public enum SocketAddress: Equatable, Sendable {
    /// A path, at most 107 bytes.
    case unix(String)
    /// A vsock context id and port.
    case vsock(cid: UInt32, port: UInt32)

    /// Any context id, for listening.
    public static let anyCID: UInt32 = 0xffff_ffff
    /// The host, seen from a guest.
    public static let hostCID: UInt32 = 2

    var family: Int32 {
        switch self {
        case .unix: AF_UNIX
        case .vsock: AF_VSOCK
        }
    }

    /// Calls `body` with the C address.
    func withAddress(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) throws(SystemError) -> Int32 {
        switch self {
        case .unix(let path):
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            let bytes = Array(path.utf8)
            guard bytes.count < 108 else { throw SystemError("socket path of \(bytes.count) bytes (107 at most): \(path)", .fileNameTooLong) }
            unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
            return unsafe withUnsafePointer(to: address) {
                unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
            }
        case .vsock(let cid, let port):
            var address = sockaddr_vm()
            address.svm_family = sa_family_t(AF_VSOCK)
            address.svm_cid = cid
            address.svm_port = port
            return unsafe withUnsafePointer(to: address) {
                unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, socklen_t(MemoryLayout<sockaddr_vm>.size)) }
            }
        }
    }
}

extension SocketAddress: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unix(let path): path
        case .vsock(let cid, let port): "vsock \(cid):\(port)"
        }
    }
}

extension Descriptor {
    /// Which way of a connection to close.
    public enum Direction: Sendable { case reading, writing, both }

    /// Connections that wait to be accepted, as many as the kernel's default `net.core.somaxconn` allows: of one more over vsock
    /// the guest's kernel says that nobody listens, and fifty execs come with two hundred.
    public static let backlog: Int32 = 4096

    /// A stream socket listening at `address`. A Unix path must not exist yet.
    public static func listening(at address: SocketAddress, backlog: Int32 = backlog) throws(SystemError) -> Descriptor {
        let socket = try streamSocket(address.family)
        try check(unsafe try address.withAddress { unsafe Glibc.bind(socket.raw, $0, $1) }, "bind \(address)")
        try check(Glibc.listen(socket.raw, backlog), "listen at \(address)")
        return socket
    }

    /// A stream socket connected to `address`.
    ///
    /// - Parameter nonBlocking: the socket stays so, and a Unix listener with a full backlog means `EAGAIN`, not waiting.
    public static func connected(to address: SocketAddress, nonBlocking: Bool = false) throws(SystemError) -> Descriptor {
        let socket = try streamSocket(address.family, nonBlocking ? Int32(SOCK_NONBLOCK.rawValue) : 0)
        try check(unsafe try address.withAddress { unsafe Glibc.connect(socket.raw, $0, $1) }, "connect to \(address)")
        return socket
    }

    /// A stream socket on its way to be connected: it can be written to when it is.
    public static func connecting(to address: SocketAddress) throws(SystemError) -> Descriptor {
        let socket = try streamSocket(address.family, Int32(SOCK_NONBLOCK.rawValue))
        try socket.finishConnecting(unsafe try address.withAddress { unsafe Glibc.connect(socket.raw, $0, $1) }, "connect to \(address)")
        return socket
    }

    /// - Parameter result: connect(2)'s, of a socket that does not wait.
    func finishConnecting(_ result: Int32, _ stage: @autoclosure () -> String) throws(SystemError) {
        if result == -1, errno != EINPROGRESS { throw SystemError.current(stage()) }
    }

    /// Two connected sockets; `SOCK_SEQPACKET` keeps message boundaries.
    public static func socketPair(_ type: __socket_type = SOCK_STREAM) throws(SystemError) -> (Descriptor, Descriptor) {
        var pair: [Int32] = [-1, -1]
        try check(unsafe socketpair(AF_UNIX, Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &pair), "socketpair")
        return (Descriptor(adopting: pair[0]), Descriptor(adopting: pair[1]))
    }

    /// Two connected sockets that keep message boundaries (`SOCK_SEQPACKET`).
    public static func messageSocketPair() throws(SystemError) -> (Descriptor, Descriptor) {
        try socketPair(SOCK_SEQPACKET)
    }

    /// A pipe: the reading end, the writing end.
    public static func pipe() throws(SystemError) -> (reading: Descriptor, writing: Descriptor) {
        var pair: [Int32] = [-1, -1]
        try check(unsafe pipe2(&pair, O_CLOEXEC), "pipe")
        return (Descriptor(adopting: pair[0]), Descriptor(adopting: pair[1]))
    }

    /// A pipe of which one end does not wait, or both.
    public static func pipe(nonBlocking ends: Direction) throws(SystemError) -> (reading: Descriptor, writing: Descriptor) {
        let pipe = try pipe()
        if ends != .writing { try pipe.reading.setNonBlocking() }
        if ends != .reading { try pipe.writing.setNonBlocking() }
        return pipe
    }

    /// Takes the next waiting connection.
    ///
    /// - Parameter nonBlocking: of the connection, whatever this is.
    public func accept(nonBlocking: Bool = false) throws(SystemError) -> Descriptor {
        let flags = nonBlocking ? Int32(SOCK_NONBLOCK.rawValue) : 0
        return Descriptor(adopting: try checkRetrying("accept") { clinux_accept(raw, flags) })
    }

    /// Whether it waits for connections, and is none.
    public func isListening() throws(SystemError) -> Bool { try option(SO_ACCEPTCONN) != 0 }

    public func isStreamSocket() throws(SystemError) -> Bool { try option(SO_TYPE) == Int32(SOCK_STREAM.rawValue) }

    private func option(_ name: Int32) throws(SystemError) -> Int32 {
        var value: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        try check(unsafe getsockopt(raw, SOL_SOCKET, name, &value, &size), "read socket option")
        return value
    }

    public func shutdown(_ direction: Direction) throws(SystemError) {
        let how: Int32 =
            switch direction {
            case .reading: Int32(SHUT_RD)
            case .writing: Int32(SHUT_WR)
            case .both: Int32(SHUT_RDWR)
            }
        try check(Glibc.shutdown(raw, how), "shutdown")
    }

    /// Copies at most `count` bytes and leaves them in the socket; empty at the end of the stream. Never waits: `EAGAIN`.
    public func peek(upTo count: Int) throws(SystemError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let flags = Int32(MSG_PEEK) | Int32(MSG_DONTWAIT)
        let got = try checkRetrying("peek") { unsafe recv(raw, &bytes, count, flags) }
        bytes.removeLast(count - got)
        return bytes
    }

    private static func streamSocket(_ family: Int32, _ flags: Int32 = 0) throws(SystemError) -> Descriptor {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | flags
        return Descriptor(adopting: try check(socket(family, type, 0), "socket"))
    }
}
