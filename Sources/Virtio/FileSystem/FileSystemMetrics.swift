/// What a file system device counts.
public final class FileSystemMetrics: Sendable {
    public let requests = Counter()
    /// Requests handed to a thread of their own kind because they may wait for a disk.
    public let slowRequests = Counter()
}
