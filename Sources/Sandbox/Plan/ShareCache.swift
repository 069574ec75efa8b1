/// How long a guest believes what it was told about shared files.
public enum ShareCache: String, Codable, Sendable, CaseIterable {
    /// A second: the host may change them too.
    case auto
    /// As long as the guest likes: nobody else changes them.
    case always
}
