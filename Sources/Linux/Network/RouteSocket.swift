import CLinux
import Glibc

/// Asks the kernel about the network namespace the socket was made in, and changes it (rtnetlink(7)).
public final class RouteSocket {
    // linux/netlink.h
    private static let request: UInt16 = 1, acknowledge: UInt16 = 4, dump: UInt16 = 0x300
    private static let error: UInt16 = 2, done: UInt16 = 3
    /// What a change may do: NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE.
    static let create: UInt16 = 0x400, exclusive: UInt16 = 0x200, replace: UInt16 = 0x100
    /// The kernel makes no longer ones than are asked for, and fresh memory is dear in a guest.
    private static let answerLimit = 16 << 10

    private let socket: Descriptor
    private var sequence: UInt32 = 0

    /// In the calling thread's network namespace, and it stays there.
    public init() throws(SystemError) {
        let type = Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        // NETLINK_ROUTE
        socket = Descriptor(adopting: try check(Glibc.socket(AF_NETLINK, type, 0), "netlink socket"))
    }

    /// Asks for a change; returns when it is made.
    func change(_ message: NetlinkMessage, _ stage: @autoclosure () -> String, flags: UInt16 = 0) throws(SystemError) {
        try ask(message, stage(), Self.request | Self.acknowledge | flags) { _ in }
    }

    /// Asks for everything of a kind.
    func list(_ message: NetlinkMessage, _ stage: @autoclosure () -> String) throws(SystemError) -> [NetlinkReply] {
        var replies: [NetlinkReply] = []
        try ask(message, stage(), Self.request | Self.dump) { replies.append($0) }
        return replies
    }

    private func ask(
        _ message: NetlinkMessage, _ stage: @autoclosure () -> String, _ flags: UInt16, _ take: (NetlinkReply) -> Void
    ) throws(SystemError) {
        sequence &+= 1
        try socket.send(message.finished(flags: flags, sequence: sequence))
        while true {
            var rest = try socket.receive(limit: Self.answerLimit).bytes[...]
            while rest.count >= NetlinkMessage.headerSize {
                let length = Int(littleEndian(rest, as: UInt32.self))
                guard length >= NetlinkMessage.headerSize, length <= rest.count else { break }
                let reply = NetlinkReply(
                    type: littleEndian(rest.dropFirst(4)), body: rest.prefix(length).dropFirst(NetlinkMessage.headerSize))
                let isAnswer = littleEndian(rest.dropFirst(8), as: UInt32.self) == sequence
                rest = rest.dropFirst((length + 3) & ~3)
                guard isAnswer else { continue }
                switch reply.type {
                case Self.error, Self.done:
                    let code = reply.body.count >= 4 ? reply.header(Int32.self, at: 0) : 0
                    if code < 0 { throw SystemError(stage(), Errno(rawValue: -code)) }
                    return
                default: take(reply)
                }
            }
        }
    }
}
