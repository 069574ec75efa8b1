/// XXH64 of some content: tells accidents apart, not attackers.
public enum ContentHash {
    private static let primes: (UInt64, UInt64, UInt64, UInt64, UInt64) = (
        0x9e37_79b1_85eb_ca87, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9, 0x85eb_ca77_c2b2_ae63, 0x27d4_eb2f_1656_67c5
    )

    public static func of(_ bytes: some Collection<UInt8>, seed: UInt64 = 0) -> UInt64 {
        let done = bytes.withContiguousStorageIfAvailable { unsafe of(UnsafeRawBufferPointer($0), seed: seed) }
        return done ?? of(Array(bytes), seed: seed)
    }

    /// A part of a mapping, which must lie in it.
    public static func of(_ mapping: Mapping, _ range: Range<Int>, seed: UInt64 = 0) -> UInt64 {
        guard range.lowerBound >= 0, range.upperBound <= mapping.count else { return 0 }
        return unsafe of(UnsafeRawBufferPointer(start: mapping.base + range.lowerBound, count: range.count), seed: seed)
    }

    @unsafe
    public static func of(_ bytes: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
        let (p1, p2, p3, p4, p5) = primes
        var offset = 0
        var hash: UInt64
        if bytes.count >= 32 {
            var (a, b, c, d) = (seed &+ p1 &+ p2, seed &+ p2, seed, seed &- p1)
            while bytes.count - offset >= 32 {
                a = round(a, unsafe word(bytes, offset))
                b = round(b, unsafe word(bytes, offset + 8))
                c = round(c, unsafe word(bytes, offset + 16))
                d = round(d, unsafe word(bytes, offset + 24))
                offset += 32
            }
            hash = rotate(a, 1) &+ rotate(b, 7) &+ rotate(c, 12) &+ rotate(d, 18)
            for lane in [a, b, c, d] { hash = (hash ^ round(0, lane)) &* p1 &+ p4 }
        } else {
            hash = seed &+ p5
        }
        hash &+= UInt64(bytes.count)
        while bytes.count - offset >= 8 {
            hash = rotate(hash ^ round(0, unsafe word(bytes, offset)), 27) &* p1 &+ p4
            offset += 8
        }
        if bytes.count - offset >= 4 {
            let half = unsafe UInt64(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
            hash = rotate(hash ^ half &* p1, 23) &* p2 &+ p3
            offset += 4
        }
        while offset < bytes.count {
            hash = rotate(hash ^ UInt64(unsafe bytes[offset]) &* p5, 11) &* p1
            offset += 1
        }
        hash = (hash ^ hash >> 33) &* p2
        hash = (hash ^ hash >> 29) &* p3
        return hash ^ hash >> 32
    }

    @inline(__always)
    private static func word(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
        unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    @inline(__always)
    private static func round(_ lane: UInt64, _ input: UInt64) -> UInt64 {
        rotate(lane &+ input &* primes.1, 31) &* primes.0
    }

    @inline(__always)
    private static func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 { value << count | value >> (64 - count) }
}
