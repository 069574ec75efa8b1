import CLinux
import Glibc

extension Descriptor {
    /// Most descriptors one message may carry.
    public static let maximumPassed = Int(CLINUX_MAX_DESCRIPTORS)

    /// Sends one message with descriptors beside it (`SCM_RIGHTS`).
    public func send(_ bytes: [UInt8], passing descriptors: [Descriptor] = []) throws(SystemError) {
        let numbers = descriptors.map(\.raw)
        try checkRetrying("send message") { unsafe clinux_send(raw, bytes, bytes.count, numbers, numbers.count) }
    }

    /// Receives one message of at most `limit` bytes and the descriptors beside it. Empty: the peer is gone.
    public func receive(limit: Int) throws(SystemError) -> (bytes: [UInt8], descriptors: [Descriptor]) {
        var bytes = [UInt8](repeating: 0, count: limit)
        var numbers = [Int32](repeating: -1, count: Self.maximumPassed)
        var received = 0
        let count = try checkRetrying("receive message") { unsafe clinux_receive(raw, &bytes, limit, &numbers, &received) }
        bytes.removeLast(limit - count)
        return (bytes, numbers.prefix(received).map { Descriptor(adopting: $0) })
    }
}
