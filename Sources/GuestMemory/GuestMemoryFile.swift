import Glibc
import Linux

/// Guest memory as a file: region after region, with holes where there is nothing but zeroes.
extension GuestMemory {
    public static let pageSize = Mapping.pageSize
    /// Written at once.
    private static let runLimit = 1 << 20
    /// Smaller holes take a page at a time: where free pages are rare the guest writes to a few of them, not to all.
    private static let smallestHoleOfHugePages = 16 << 20

    /// Writes every page that is not all zeroes to an empty `file`.
    ///
    /// The guest must stand still.
    /// - Returns: a hash of the content, as ``contentHash(of:)`` finds it.
    public func save(to file: Descriptor) throws(SystemError) -> UInt64 {
        try file.truncate(to: regions.reduce(0) { $0 + $1.mapping.count })
        var hash: UInt64 = 0
        for region in regions {
            for data in try dataRanges(of: region) {
                var offset = data.lowerBound
                while offset < data.upperBound {
                    let run = Self.runOfContent(region.mapping, from: offset, to: data.upperBound, fileOffset: region.fileOffset, &hash)
                    try Self.write(region.mapping, run, to: file, at: region.fileOffset + run.lowerBound)
                    offset = max(run.upperBound, offset + Self.pageSize)
                }
            }
        }
        return hash
    }

    /// A hash of every page of a memory file that is not all zeroes, and of where it lies.
    public static func contentHash(of file: Descriptor) throws(SystemError) -> UInt64 {
        let count = Int(try file.status().st_size)
        guard count > 0, count % pageSize == 0 else { throw SystemError("memory file of \(count) bytes", .invalidArgument) }
        let mapping = try Mapping(file, count: count, access: .read, sharing: .private)
        var hash: UInt64 = 0
        for data in try dataRanges(of: file, 0..<count) {
            var offset = data.lowerBound
            while offset < data.upperBound {
                let run = runOfContent(mapping, from: offset, to: data.upperBound, fileOffset: 0, &hash)
                offset = max(run.upperBound, offset + pageSize)
            }
        }
        return hash
    }

    /// The given guest addresses, their content that of a memory file, which never sees what is written to them.
    ///
    /// Pages that are only read are the page cache's, shared with every other machine of the same file. Its large holes are fresh
    /// zeroes: written to the first time, a hole of a file would cost a page of the page cache, one of one's own and a copy.
    public static func map(_ file: Descriptor, _ ranges: [(guestAddress: UInt64, count: Int)]) throws(SystemError) -> GuestMemory {
        let size = ranges.reduce(0) { $0 + $1.count }
        let found = Int(try file.status().st_size)
        // Beyond the end of a file a mapping is SIGBUS.
        guard found == size else { throw SystemError("memory file of \(found) bytes for \(size) bytes of memory", .invalidArgument) }
        var regions: [Region] = []
        var fileOffset = 0
        for range in ranges {
            let mapping = try Mapping(file, offset: fileOffset, count: range.count, access: [.read, .write], sharing: .private)
            for hole in try largeHoles(of: file, fileOffset..<fileOffset + range.count) {
                try zero(mapping, hole.lowerBound - fileOffset..<hole.upperBound - fileOffset)
            }
            regions.append(Region(guestAddress: range.guestAddress, mapping: mapping, fileOffset: fileOffset))
            fileOffset += range.count
        }
        return GuestMemory(regions: regions)
    }

    private static func zero(_ mapping: Mapping, _ range: Range<Int>) throws(SystemError) {
        try mapping.clear(at: range.lowerBound, count: range.count, access: [.read, .write])
        if range.count >= smallestHoleOfHugePages { mapping.preferHugePages(at: range.lowerBound, count: range.count) }
    }

    /// This memory and more beside it, of zeroes. For memory that is mapped from a file: it has no other yet.
    public func adding(_ guestAddress: UInt64, count: Int) throws(SystemError) -> GuestMemory {
        let mapping = try Mapping(nil, count: count, access: [.read, .write], sharing: .private)
        mapping.preferHugePages(at: 0, count: count)
        let end = regions.reduce(0) { $0 + $1.mapping.count }
        return GuestMemory(regions: regions + [Region(guestAddress: guestAddress, mapping: mapping, fileOffset: end)])
    }

    // MARK: Pages

    /// The pages from `offset` on up to the next of zeroes, or none if that is the first; they are added to the hash.
    private static func runOfContent(_ mapping: Mapping, from offset: Int, to end: Int, fileOffset: Int, _ hash: inout UInt64) -> Range<Int> {
        var next = offset
        while next < end, next - offset < runLimit, unsafe !isZero(mapping.base + next) {
            let page = UInt64((fileOffset + next) / pageSize)
            hash = ContentHash.of(mapping, next..<next + pageSize, seed: hash &+ page)
            next += pageSize
        }
        return offset..<next
    }

    static func isZero(_ page: UnsafeMutableRawPointer) -> Bool {
        // A page whose first word is zero and that equals itself moved by a word.
        unsafe page.load(as: UInt64.self) == 0 && memcmp(page, page + 8, pageSize - 8) == 0
    }

    static func write(_ mapping: Mapping, _ range: Range<Int>, to file: Descriptor, at position: Int) throws(SystemError) {
        var done = 0
        while done < range.count {
            done += try checkRetrying("write guest memory") {
                unsafe pwrite(file.raw, mapping.base + range.lowerBound + done, range.count - done, position + done)
            }
        }
    }

    // MARK: Holes

    /// Offsets in the region that may hold something. Reading the holes of a memory file would fill them.
    func dataRanges(of region: Region) throws(SystemError) -> [Range<Int>] {
        guard let file else { return [0..<region.mapping.count] }
        let start = region.fileOffset
        let end = start + region.mapping.count
        let covered = covered.withLock { $0 }.filter { $0.lowerBound >= start && $0.upperBound <= end }
        return Self.union(try Self.dataRanges(of: file, start..<end) + covered).map { $0.lowerBound - start..<$0.upperBound - start }
    }

    /// The same numbers in ranges that are sorted and do not overlap.
    private static func union(_ ranges: [Range<Int>]) -> [Range<Int>] {
        ranges.sorted { $0.lowerBound < $1.lowerBound }.reduce(into: []) { union, range in
            if let last = union.last, range.lowerBound <= last.upperBound {
                union[union.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
            } else {
                union.append(range)
            }
        }
    }

    /// The holes of a file that hold at least one huge page, cut to whole ones. There are hundreds of small ones, which are not looked at.
    private static func largeHoles(of file: Descriptor, _ range: Range<Int>) throws(SystemError) -> [Range<Int>] {
        var holes: [Range<Int>] = []
        var offset = range.lowerBound
        while offset < range.upperBound {
            let data = min(try nextData(in: file, from: offset) ?? range.upperBound, range.upperBound)
            let end = offset + (data - offset) / Mapping.hugePageSize * Mapping.hugePageSize
            if offset < end { holes.append(offset..<end) }
            // None begins before the next boundary.
            offset = end + Mapping.hugePageSize
        }
        return holes
    }

    /// Nil: nothing but a hole is left.
    private static func nextData(in file: Descriptor, from offset: Int) throws(SystemError) -> Int? {
        do { return Int(try file.find(.data, from: Int64(offset))) } catch {
            if error.errno == .noSuchAddressOrDevice { return nil }
            throw error
        }
    }

    static func dataRanges(of file: Descriptor, _ range: Range<Int>) throws(SystemError) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        var offset = range.lowerBound
        while offset < range.upperBound {
            guard let start = try nextData(in: file, from: offset), start < range.upperBound else { break }
            let end = min(Int(try file.find(.hole, from: Int64(start))), range.upperBound)
            // File systems with small blocks may have data in a part of a page.
            let wholeStart = start / pageSize * pageSize
            let wholeEnd = min((end + pageSize - 1) / pageSize * pageSize, range.upperBound)
            ranges.append(max(wholeStart, offset)..<wholeEnd)
            offset = wholeEnd
        }
        return ranges
    }
}
