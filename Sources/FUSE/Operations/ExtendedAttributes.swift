import Glibc
import Linux

extension RequestWorker {
    /// The most a value or list of names may have (XATTR_SIZE_MAX, XATTR_LIST_MAX).
    private static let limit = 65_536

    /// What the guest may see and set. Not `trusted.`, by which overlayfs on the host would be led astray,
    /// nor a host's labels.
    private static let prefixes: [[UInt8]] = ["user.", "security.capability", "system.posix_acl_"].map { Array($0.utf8) }

    private func isShown(_ name: some Collection<UInt8>) -> Bool { Self.prefixes.contains { name.starts(with: $0) } }

    private func name(_ request: inout Request) throws(SystemError) -> KernelString {
        let bytes = try request.string(limit: 256)
        guard isShown(bytes), let name = KernelString(bytes) else { throw SystemError("extended attribute", .notSupported) }
        return name
    }

    func getExtendedAttribute(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let size: UInt32 = try request.read()
        try request.skip(4)
        if try isSynthetic(request.node) { throw SystemError("extended attribute", .notSupported) }
        let target = try target(request.node)
        let name = try name(&request)
        makeRoom()
        let count = try target.inode.descriptor.attribute(name, into: &attribute)
        try answer(attribute[..<count], size, &reply)
    }

    func listExtendedAttributes(_ request: inout Request, _ reply: inout Reply) throws(SystemError) {
        let size: UInt32 = try request.read()
        if try isSynthetic(request.node) { return try answer([], size, &reply) }
        let target = try target(request.node)
        makeRoom()
        let count = try target.inode.descriptor.attributeNames(into: &attribute)
        var shown: [UInt8] = []
        for name in attribute[..<count].split(separator: 0) where isShown(name) { shown += name + [0] }
        try answer(shown[...], size, &reply)
    }

    func setExtendedAttribute(_ request: inout Request) throws(SystemError) {
        let target = try writableTarget(request.node)
        let size: UInt32 = try request.read()
        let flags: UInt32 = try request.read()
        if let agreed = server.agreed, agreed & InitializeFlags.extendedSetAttribute != 0 {
            // FUSE_SETXATTR_ACL_KILL_SGID: an ACL changed by somebody not of the file's group.
            context.dropSetID(try request.read(UInt32.self) & 1 != 0)
            try request.skip(4)
        }
        let name = try name(&request)
        guard Int(size) <= Self.limit else { throw SystemError("setxattr", Errno(rawValue: E2BIG)) }
        try target.inode.descriptor.setAttribute(name, to: request.bytes(Int(size)), flags: Int32(bitPattern: flags))
    }

    func removeExtendedAttribute(_ request: inout Request) throws(SystemError) {
        let target = try writableTarget(request.node)
        try target.inode.descriptor.removeAttribute(name(&request))
    }

    private func makeRoom() {
        if attribute.isEmpty { attribute = [UInt8](repeating: 0, count: Self.limit) }
    }

    /// The bytes, or only how many they are when the guest asks that by a size of 0.
    private func answer(_ bytes: ArraySlice<UInt8>, _ size: UInt32, _ reply: inout Reply) throws(SystemError) {
        if size == 0 {
            try reply.write(UInt32(clamping: bytes.count))
            return try reply.write(UInt32(0))
        }
        guard bytes.count <= Int(size), bytes.count <= reply.remaining else { throw SystemError("extended attribute", .outOfRange) }
        try reply.write(bytes)
    }
}
