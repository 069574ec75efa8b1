import FUSE
import Glibc
import Linux

/// The operations as a kernel sends them.
extension Client {
    struct Attributes: Equatable {
        var inode, size, blocks: UInt64
        var mode, links, user, group, flags: UInt32
        var modified: UInt64

        init(_ reader: inout Reader) throws {
            inode = try reader.u64()
            size = try reader.u64()
            blocks = try reader.u64()
            _ = try reader.u64()
            modified = try reader.u64()
            _ = try reader.take(8 + 12)
            mode = try reader.u32()
            links = try reader.u32()
            user = try reader.u32()
            group = try reader.u32()
            _ = try reader.take(8)
            flags = try reader.u32()
        }
    }

    struct Entry {
        var node, generation, entryValid, attributesValid: UInt64
        var attributes: Attributes

        init(_ reader: inout Reader) throws {
            node = try reader.u64()
            generation = try reader.u64()
            entryValid = try reader.u64()
            attributesValid = try reader.u64()
            _ = try reader.take(8)
            attributes = try Attributes(&reader)
        }
    }

    struct Opened {
        var handle: UInt64
        var flags: UInt32

        init(_ reader: inout Reader) throws {
            handle = try reader.u64()
            flags = try reader.u32()
            _ = try reader.take(4)
        }
    }

    struct Agreed {
        var major, minor, readahead, flags, maximumWrite: UInt32
        var maximumPages: UInt16
    }

    static let linuxFlags: UInt32 = 0x73ff_fffb

    func initialize(major: UInt32 = 7, minor: UInt32 = 41, flags: UInt32 = linuxFlags) throws -> Agreed {
        let body = Bytes(major, minor, UInt32(131_072), flags, UInt32(0), [UInt8](repeating: 0, count: 44))
        var reader = Reader(try call(.initialize, 0, body.bytes))
        let (major, minor, readahead, flags) = (try reader.u32(), try reader.u32(), try reader.u32(), try reader.u32())
        _ = try reader.u32()
        let maximumWrite = try reader.u32()
        _ = try reader.u32()
        return Agreed(
            major: major, minor: minor, readahead: readahead, flags: flags, maximumWrite: maximumWrite, maximumPages: try reader.u16())
    }

    func lookUp(_ name: String, in node: UInt64) throws -> Entry { try entry(call(.lookup, node, Bytes(name).bytes)) }

    /// The node at the end of a path from the root of the shares.
    func walk(_ path: String) throws -> UInt64 {
        try path.split(separator: "/").reduce(Self.root) { try lookUp(String($1), in: $0).node }
    }

    private func entry(_ body: [UInt8]) throws -> Entry {
        var reader = Reader(body)
        return try Entry(&reader)
    }

    func attributes(_ node: UInt64) throws -> Attributes {
        var reader = Reader(try call(.getAttributes, node, Bytes(UInt64(0), UInt64(0)).bytes))
        _ = try reader.take(16)
        return try Attributes(&reader)
    }

    /// struct fuse_setattr_in with the fields named.
    func setAttributes(
        _ node: UInt64, valid: UInt32, handle: UInt64 = 0, size: UInt64 = 0, mode: UInt32 = 0, owner: UInt32 = 0, time: UInt64 = 0
    ) throws -> Attributes {
        let body = Bytes(
            valid, UInt32(0), handle, size, UInt64(0), time, time, time, UInt32(0), UInt32(0), UInt32(0), mode, UInt32(0), owner, owner,
            UInt32(0))
        var reader = Reader(try call(.setAttributes, node, body.bytes))
        _ = try reader.take(16)
        return try Attributes(&reader)
    }

    func open(_ node: UInt64, _ flags: Int32 = O_RDONLY, openFlags: UInt32 = 0) throws -> Opened {
        var reader = Reader(try call(.open, node, Bytes(flags, openFlags).bytes))
        return try Opened(&reader)
    }

    func openDirectory(_ node: UInt64) throws -> Opened {
        var reader = Reader(try call(.openDirectory, node, Bytes(UInt64(0)).bytes))
        return try Opened(&reader)
    }

    func create(
        _ name: String, in node: UInt64, _ flags: Int32 = O_RDWR, mode: UInt32 = 0o644, opcode: Opcode = .create
    ) throws -> (entry: Entry, opened: Opened) {
        var reader = Reader(
            try call(opcode, node, Bytes(flags, mode | 0o100000, UInt32(0), UInt32(0), name).bytes))
        return (try Entry(&reader), try Opened(&reader))
    }

    func read(_ node: UInt64, _ handle: UInt64, at offset: UInt64 = 0, count: Int = 4096) throws -> [UInt8] {
        try call(.read, node, Bytes(handle, offset, UInt32(count), UInt32(0), UInt64(0), UInt32(0), UInt32(0)).bytes, room: count)
    }

    func write(
        _ node: UInt64, _ handle: UInt64, _ data: [UInt8], at offset: UInt64 = 0, flags: Int32 = 0, writeFlags: UInt32 = 0
    ) throws -> Int {
        let body = Bytes(handle, offset, UInt32(data.count), writeFlags, UInt64(0), flags, UInt32(0), data)
        var reader = Reader(try call(.write, node, body.bytes))
        return Int(try reader.u32())
    }

    func release(_ node: UInt64, _ handle: UInt64, directory: Bool = false) throws {
        try call(directory ? .releaseDirectory : .release, node, Bytes(handle, UInt64(0), UInt64(0)).bytes)
    }

    func forget(_ node: UInt64, _ count: UInt64) throws {
        let answer = try exchange(message(.forget, node, Bytes(count).bytes), room: 64)
        guard answer.isEmpty else { throw SystemError("FORGET was answered", .ioError) }
    }

    struct DirectoryEntry {
        var name: String
        var inode, next: UInt64
        var type: UInt32
        var entry: Entry?
    }

    func readDirectory(_ node: UInt64, _ handle: UInt64, from offset: UInt64 = 0, count: Int = 4096, plus: Bool = false) throws -> [DirectoryEntry] {
        let body = Bytes(handle, offset, UInt32(count), UInt32(0), UInt64(0), UInt32(0), UInt32(0)).bytes
        var reader = Reader(try call(plus ? .readDirectoryPlus : .readDirectory, node, body, room: count))
        var result: [DirectoryEntry] = []
        while reader.remaining > 0 {
            let entry = plus ? try Entry(&reader) : nil
            let (inode, next, length, type) = (try reader.u64(), try reader.u64(), Int(try reader.u32()), try reader.u32())
            let name = String(decoding: try reader.take(length), as: UTF8.self)
            _ = try reader.take((8 - length % 8) % 8)
            result.append(DirectoryEntry(name: name, inode: inode, next: next, type: type, entry: entry))
        }
        return result
    }

    /// All names of a directory, without `.` and `..`, sorted.
    func list(_ node: UInt64, count: Int = 4096, plus: Bool = false) throws -> [String] {
        let handle = try openDirectory(node).handle
        var names: [String] = []
        var offset: UInt64 = 0
        while true {
            let part = try readDirectory(node, handle, from: offset, count: count, plus: plus)
            guard let last = part.last else { break }
            names += part.map(\.name)
            offset = last.next
        }
        try release(node, handle, directory: true)
        return names.filter { $0 != "." && $0 != ".." }.sorted()
    }

    func makeDirectory(_ name: String, in node: UInt64, mode: UInt32 = 0o755) throws -> Entry {
        try entry(call(.makeDirectory, node, Bytes(mode, UInt32(0), name).bytes))
    }

    func makeNode(_ name: String, in node: UInt64, mode: UInt32, device: UInt32 = 0) throws -> Entry {
        try entry(call(.makeNode, node, Bytes(mode, device, UInt32(0), UInt32(0), name).bytes))
    }

    func makeSymbolicLink(_ name: String, in node: UInt64, to target: String) throws -> Entry {
        try entry(call(.symbolicLink, node, Bytes(name, target).bytes))
    }

    func link(_ node: UInt64, as name: String, in directory: UInt64) throws -> Entry {
        try entry(call(.link, directory, Bytes(node, name).bytes))
    }

    func rename(_ name: String, in node: UInt64, to newName: String, in newNode: UInt64, flags: UInt32? = nil) throws {
        if let flags {
            try call(.rename2, node, Bytes(newNode, flags, UInt32(0), name, newName).bytes)
        } else {
            try call(.rename, node, Bytes(newNode, name, newName).bytes)
        }
    }

    func setExtended(_ node: UInt64, _ name: String, _ value: [UInt8], flags: UInt32 = 0) throws {
        try call(.setExtendedAttribute, node, Bytes(UInt32(value.count), flags, UInt64(0), name, value).bytes)
    }

    func getExtended(_ node: UInt64, _ name: String, count: Int = 65_536) throws -> [UInt8] {
        try call(.getExtendedAttribute, node, Bytes(UInt32(count), UInt32(0), name).bytes, room: max(count, 8))
    }
}
