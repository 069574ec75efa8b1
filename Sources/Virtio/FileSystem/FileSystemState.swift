/// What a snapshot keeps of a file system device: nothing of its own. Queues are the transport's, what the
/// guest holds of the shares is the file server's.
public struct FileSystemState: Equatable, Sendable {
    public init() {}
}
