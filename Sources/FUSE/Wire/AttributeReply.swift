import Linux

/// How long the guest may believe something, in whole seconds.
typealias Validity = UInt64

extension Reply {
    /// struct fuse_attr, 88 bytes.
    mutating func write(_ metadata: FileMetadata, flags: UInt32 = 0) throws(SystemError) {
        try write(metadata.inode)
        try write(metadata.size)
        try write(metadata.blocks)
        try write(metadata.accessed.seconds)
        try write(metadata.modified.seconds)
        try write(metadata.changed.seconds)
        try write(metadata.accessed.nanoseconds)
        try write(metadata.modified.nanoseconds)
        try write(metadata.changed.nanoseconds)
        try write(metadata.mode)
        try write(metadata.links)
        try write(metadata.user)
        try write(metadata.group)
        try write(metadata.encodedDevice)
        try write(metadata.blockSize)
        try write(flags)
    }

    /// struct fuse_attr_out, 104 bytes.
    mutating func write(attributes metadata: FileMetadata, valid: Validity, flags: UInt32 = 0) throws(SystemError) {
        try write(valid)
        try zeroes(8)
        try write(metadata, flags: flags)
    }

    /// struct fuse_entry_out.
    static let entrySize = 128

    mutating func write(_ entry: Entry) throws(SystemError) {
        try write(entry.node.rawValue)
        try write(UInt64(0))  // generation: node numbers are never used again
        try write(entry.entryValid)
        try write(entry.attributesValid)
        try zeroes(8)
        try write(entry.metadata, flags: entry.flags)
    }

    /// struct fuse_statx_out, 288 bytes: what STATX_BASIC_STATS and STATX_BTIME cover.
    mutating func write(extendedAttributes metadata: FileMetadata, valid: Validity) throws(SystemError) {
        try write(valid)
        try zeroes(24)
        try write(UInt32(metadata.born == nil ? 0x7ff : 0xfff))
        try write(metadata.blockSize)
        try write(UInt64(0))
        try write(metadata.links)
        try write(metadata.user)
        try write(metadata.group)
        try write(UInt16(truncatingIfNeeded: metadata.mode))
        try write(UInt16(0))
        try write(metadata.inode)
        try write(metadata.size)
        try write(metadata.blocks)
        try write(UInt64(0))
        for time in [metadata.accessed, metadata.born ?? FileTime(seconds: 0, nanoseconds: 0), metadata.changed, metadata.modified] {
            try write(time.seconds)
            try write(time.nanoseconds)
            try write(UInt32(0))
        }
        try write(metadata.deviceMajor)
        try write(metadata.deviceMinor)
        try zeroes(8 + 14 * 8)
    }
}

extension FileMetadata {
    /// As the kernel's new_encode_dev does.
    fileprivate var encodedDevice: UInt32 { deviceMinor & 0xff | deviceMajor << 8 | (deviceMinor & ~0xff) << 12 }
}

/// A name found: which node it is and what the guest may remember of it.
struct Entry {
    let node: NodeID
    let metadata: FileMetadata
    var entryValid: Validity
    var attributesValid: Validity
    /// ``AttributeFlags``.
    var flags: UInt32 = 0
}
