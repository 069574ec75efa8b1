public import SwiftProtobuf

/// A call by name and message types: what a server answers and a client asks for.
public struct Method<Request: Message, Response: Message>: Sendable {
    public let service: String
    public let name: String
    /// Largest response a client takes, in bytes. What a message of 4 MiB can decode to is many times that.
    public let responseLimit: Int

    public init(_ service: String, _ name: String, responseLimit: Int = 64 << 10) {
        self.service = service
        self.name = name
        self.responseLimit = responseLimit
    }
}
