/// One mount of a mount namespace: a line of `/proc/PID/mountinfo` (proc(5)).
public struct MountEntry: Sendable, Equatable {
    public let id: UInt64
    /// The directory of the file system that is seen.
    public let root: String
    /// Where it is seen.
    public let place: String
    /// The mount's own, `rw` or `ro` first.
    public let options: [Substring]
    /// `ext4`.
    public let type: String
    /// The file system's.
    public let fileSystemOptions: [Substring]

    /// Those of this process, in the order they were made; none where they cannot be read.
    public static func own() -> [MountEntry] {
        (try? Descriptor.open("/proc/self/mountinfo", 0).readToEnd(limit: 4 << 20)).map { all(String(decoding: $0, as: UTF8.self)) } ?? []
    }

    /// - Parameter text: the file; lines that are not as they should be are left out.
    public static func all(_ text: String) -> [MountEntry] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 3, let id = UInt64(fields[0]) else { return nil }
            return MountEntry(
                id: id, root: unescaped(fields[3]), place: unescaped(fields[4]), options: fields[5].split(separator: ","),
                type: String(fields[dash + 1]), fileSystemOptions: fields[dash + 3].split(separator: ","))
        }
    }

    /// Spaces and the like are three octal digits after a backslash.
    private static func unescaped(_ field: Substring) -> String {
        let backslash = UInt8(ascii: "\\")
        guard field.utf8.contains(backslash) else { return String(field) }
        var bytes: [UInt8] = []
        var rest = Array(field.utf8)[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == backslash, digits.count == 3, let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8) {
                bytes.append(value)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
