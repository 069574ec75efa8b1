/// Where host and agent meet, and what they agree on.
public enum AgentAddress {
    /// Vsock port of ttrpc: the agent dials it on the host when it is ready, and listens on it in the guest.
    public static let rpcPort: UInt32 = 1024
    /// Vsock port in the guest of standard streams: eight bytes of stream id (little endian), then data.
    public static let streamPort: UInt32 = 1025
    /// Vsock ports on the host of name servers that the guest cannot reach (`ConfigureNetwork`): messages with their length in two bytes before
    /// them, to be passed on as datagrams or by TCP.
    public static let nameServerDatagramPort: UInt32 = 1026
    public static let nameServerStreamPort: UInt32 = 1027
    /// Directory in the guest where share NAME appears as NAME.
    public static let sharesDirectory = "/run/microvm/shares"
}

/// Versions of this interface that this build speaks.
public enum AgentProtocol {
    public static let minimum: UInt32 = 1
    public static let maximum: UInt32 = 1
}
