import Linux

/// `struct virtio_net_hdr_v1` (virtio 1.2, 5.1.6): `u8 flags, gso_type; le16 hdr_len, gso_size, csum_start, csum_offset, num_buffers`.
enum NetworkHeader {
    static let size = 12
    static let bufferCountOffset = 10
    /// Addresses and type of an Ethernet frame.
    static let ethernetSize = 14
    static let sourceOffset = 6
    /// Of a packet that is to be cut into segments.
    static let largestPayload = 65_536

    private static let needsChecksum: UInt8 = 1
    private static let segments4: UInt8 = 1
    private static let segments6: UInt8 = 4
    private static let congestion: UInt8 = 0x80
    /// The least Linux sends: TCP_MIN_SND_MSS less all options. It bounds what one frame can make the host do.
    private static let smallestSegment = 8

    /// Whether a header of the guest's asks for nothing that was not agreed on or does not fit its frame. What has no meaning
    /// in this direction is cleared.
    ///
    /// - Parameters:
    ///   - header: at least ``size`` bytes, the header first.
    ///   - frame: bytes of the frame behind it.
    static func isSound(_ header: inout [UInt8], frame: Int, _ features: UInt64) -> Bool {
        func word(_ offset: Int) -> Int { Int(header[offset]) | Int(header[offset + 1]) << 8 }
        let checksummed = header[0] & needsChecksum != 0
        if checksummed {
            guard features & NetworkFeature.checksum != 0, word(6) >= ethernetSize, word(6) + word(8) + 2 <= frame else { return false }
        }
        let type = header[1]
        if type != 0 {
            let wanted: UInt64
            switch type & ~congestion {
            case segments4: wanted = NetworkFeature.hostSegments4
            case segments6: wanted = NetworkFeature.hostSegments6
            default: return false
            }
            guard features & wanted != 0, type & congestion == 0 || features & NetworkFeature.hostCongestion != 0 else { return false }
            // 5.1.6.2.1: a packet to be cut has its checksum still to be made.
            guard checksummed, word(4) >= smallestSegment, word(2) <= frame else { return false }
        } else {
            for index in 2..<6 { header[index] = 0 }
        }
        header[0] &= needsChecksum
        header[bufferCountOffset] = 0
        header[bufferCountOffset + 1] = 0
        return true
    }
}
