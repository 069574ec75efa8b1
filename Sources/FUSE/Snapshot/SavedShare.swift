import Linux

/// What tells a file from every other, and from what it was before it was changed.
struct FileIdentity: Equatable, Sendable {
    let inode: UInt64
    let kind: FileKind
    /// Nil where the file system does not keep it. An inode's number is used again, with its time of birth it is not.
    let born: FileTime?
    /// Of regular files: a client has pages of theirs. Directories and links it asks about anew.
    let version: ContentVersion?

    init(inode: UInt64, kind: FileKind, born: FileTime?, version: ContentVersion?) {
        self.inode = inode
        self.kind = kind
        self.born = born
        self.version = version
    }

    /// Nil for what has a mode no file has.
    init?(_ metadata: FileMetadata) {
        guard let kind = metadata.kind else { return nil }
        self.init(inode: metadata.inode, kind: kind, born: metadata.born, version: kind == .regular ? ContentVersion(metadata) : nil)
    }
}

/// What a snapshot keeps of a share: what its client holds of it, each file by its path.
struct SavedShare: Equatable, Sendable {
    struct Node: Equatable, Sendable {
        let number: UInt64
        /// Below the share's root; empty for the root.
        let path: [UInt8]
        let identity: FileIdentity
        let lookups: UInt64
        /// What the client's pages show.
        let shown: ContentVersion?
    }

    struct OpenFile: Equatable, Sendable {
        let handle: UInt64
        let node: UInt64
        /// Of `open(2)`.
        let flags: Int32
    }

    /// A piece of a file in the client's window.
    struct Mapped: Equatable, Sendable {
        let position: Int
        let count: Int
        let node: UInt64
        let offset: Int64
        let isWritable: Bool
    }

    let number: UInt32
    let name: [UInt8]
    let readOnly: Bool
    let exceptSubmounts: Bool
    let cache: CachePolicy
    let isMapped: Bool
    let nextNode: UInt64
    let nodes: [Node]
    let files: [OpenFile]
    let mapped: [Mapped]
}

// MARK: Writing and reading: the same fields in the same order

extension SavedShare {
    private enum Limit {
        static let name = 255
        static let path = 4096
        static let nodes = 4 << 20
        static let files = 1 << 20
        static let mapped = 1 << 20
    }

    func write(to writer: inout StateWriter) {
        writer.write(number)
        writer.write(name)
        writer.write(readOnly)
        writer.write(exceptSubmounts)
        writer.write(cache == .always)
        writer.write(isMapped)
        writer.write(nextNode)
        writer.write(nodes) { $1.write(to: &$0) }
        writer.write(files) { writer, file in
            writer.write(file.handle)
            writer.write(file.node)
            writer.write(file.flags)
        }
        writer.write(mapped) { writer, piece in
            writer.write(Int64(piece.position))
            writer.write(Int64(piece.count))
            writer.write(piece.node)
            writer.write(piece.offset)
            writer.write(piece.isWritable)
        }
    }

    init(from reader: inout StateReader) throws(SnapshotError) {
        number = try reader.read()
        name = try reader.readBytes(limit: Limit.name)
        readOnly = try reader.readBool()
        exceptSubmounts = try reader.readBool()
        cache = try reader.readBool() ? .always : .auto
        isMapped = try reader.readBool()
        nextNode = try reader.read()
        nodes = try reader.readArray(limit: Limit.nodes) { reader throws(SnapshotError) in try Node(from: &reader, pathLimit: Limit.path) }
        files = try reader.readArray(limit: Limit.files) { reader throws(SnapshotError) in
            OpenFile(handle: try reader.read(), node: try reader.read(), flags: try reader.read())
        }
        mapped = try reader.readArray(limit: Limit.mapped) { reader throws(SnapshotError) in
            Mapped(
                position: Int(try reader.read(Int64.self)), count: Int(try reader.read(Int64.self)), node: try reader.read(),
                offset: try reader.read(), isWritable: try reader.readBool())
        }
    }
}

extension SavedShare.Node {
    func write(to writer: inout StateWriter) {
        writer.write(number)
        writer.write(path)
        writer.write(identity.inode)
        writer.write(identity.kind.rawValue)
        writer.write(optional: identity.born) { $1.write(to: &$0) }
        writer.write(optional: identity.version) { $1.write(to: &$0) }
        writer.write(lookups)
        writer.write(optional: shown) { $1.write(to: &$0) }
    }

    init(from reader: inout StateReader, pathLimit: Int) throws(SnapshotError) {
        number = try reader.read()
        path = try reader.readBytes(limit: pathLimit)
        let inode: UInt64 = try reader.read()
        guard let kind = FileKind(rawValue: try reader.read()) else { throw SnapshotError("no file is of this kind") }
        identity = FileIdentity(
            inode: inode, kind: kind, born: try reader.readOptional { reader throws(SnapshotError) in try FileTime(from: &reader) },
            version: try reader.readOptional { reader throws(SnapshotError) in try ContentVersion(from: &reader) })
        lookups = try reader.read()
        shown = try reader.readOptional { reader throws(SnapshotError) in try ContentVersion(from: &reader) }
    }
}

extension FileTime {
    fileprivate func write(to writer: inout StateWriter) {
        writer.write(seconds)
        writer.write(nanoseconds)
    }

    fileprivate init(from reader: inout StateReader) throws(SnapshotError) {
        self.init(seconds: try reader.read(), nanoseconds: try reader.read())
    }
}

extension ContentVersion {
    fileprivate func write(to writer: inout StateWriter) {
        modified.write(to: &writer)
        writer.write(size)
    }

    fileprivate init(from reader: inout StateReader) throws(SnapshotError) {
        self.init(modified: try FileTime(from: &reader), size: try reader.read())
    }
}
