import Linux
import Testing

@testable import Sandbox

@Suite("A container's name server")
struct NameServerTests {
    @Test(
        "the first one counts, and only on IPv4's loopback is it relayed",
        arguments: [
            ("nameserver 127.0.0.11\noptions ndots:0\n", [127, 0, 0, 11]),
            ("# nameserver 127.0.0.1\nsearch a b\n  nameserver\t127.0.0.53  # here\nnameserver 1.1.1.1\n", [127, 0, 0, 53]),
            ("nameserver 10.0.0.1\nnameserver 127.0.0.11\n", nil),
            ("nameserver ::1\n", nil),
            ("nameserver 127.0.0\n", nil),
            ("nameserver 127.0.0.1.2\n", nil),
            ("nameserver 127.0.0.300\n", nil),
            ("nameserver 127..0.1\n", nil),
            ("nameserver\n", nil),
            ("", nil),
        ] as [(String, [UInt8]?)])
    func loopback(text: String, address: [UInt8]?) {
        #expect(NameServerRelay.loopbackServer(text) == address.flatMap { IPAddress($0) })
    }
}
