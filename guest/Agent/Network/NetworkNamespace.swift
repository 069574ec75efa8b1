import Glibc
import Linux

/// Runs `body` in the network namespace of process `pid`; nil: in this one.
func inNetworkNamespace<Value: Sendable>(of pid: Int32?, _ body: @escaping @Sendable () throws -> Value) throws -> Value {
    guard let pid else { return try body() }
    let namespace = try Descriptor.open("/proc/\(pid)/ns/net", O_RDONLY)
    return try Thread.run("network") {
        try enter(namespace, NamespaceFlag.network)
        return try body()
    }
}
