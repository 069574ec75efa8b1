/// Bytes without a NUL in them, ended by one: what the kernel takes as a string.
public struct KernelString: Equatable, Sendable {
    let characters: [CChar]

    /// Nil when there is a NUL among `bytes`.
    public init?(_ bytes: ArraySlice<UInt8>) {
        guard !bytes.contains(0) else { return nil }
        var characters: [CChar] = []
        characters.reserveCapacity(bytes.count + 1)
        for byte in bytes { characters.append(CChar(bitPattern: byte)) }
        characters.append(0)
        self.characters = characters
    }

    public init?(_ bytes: [UInt8]) { self.init(bytes[...]) }

    public init(_ text: StaticString) {
        characters = text.withUTF8Buffer { unsafe $0.map { CChar(bitPattern: $0) } } + [0]
    }

    public var bytes: [UInt8] { characters.dropLast().map { UInt8(bitPattern: $0) } }
}

/// The name of one entry of a directory, safe to hand to the kernel beside a directory's descriptor: it
/// cannot lead anywhere else.
public struct FileName: Equatable, Sendable {
    public let string: KernelString

    /// Nil for what is no name: empty, `.`, `..`, more than 255 bytes, or with a `/` or NUL in it.
    public init?(_ bytes: ArraySlice<UInt8>) {
        let dot = UInt8(ascii: ".")
        guard !bytes.isEmpty, bytes.count <= 255, !bytes.contains(UInt8(ascii: "/")) else { return nil }
        guard bytes.count > 2 || bytes.contains(where: { $0 != dot }) else { return nil }
        guard let string = KernelString(bytes) else { return nil }
        self.string = string
    }

    public init?(_ bytes: [UInt8]) { self.init(bytes[...]) }

    public init?(_ text: String) { self.init(Array(text.utf8)) }

    var characters: [CChar] { string.characters }
}
