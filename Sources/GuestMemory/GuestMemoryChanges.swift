import Glibc
import Linux

/// Pages of guest memory that follow each other, counted as in its file.
public struct PageRun: Equatable, Sendable {
    public let first: UInt64
    public let count: UInt64

    public init(first: UInt64, count: UInt64) {
        self.first = first
        self.count = count
    }
}

/// Guest memory as what has changed since it was another file.
///
/// Found by comparing: KVM's dirty log knows nothing of what devices write, and costs a running guest a fault for each page. What was written with
/// the same content is no change here.
extension GuestMemory {
    /// Writes every page that is not as in `base` to an empty `file`, at its place; the others are holes.
    ///
    /// The guest must stand still.
    /// - Returns: which they are, in order, and a hash of the file as ``contentHash(of:)`` finds it.
    public func saveChanges(to file: Descriptor, since base: Descriptor) throws(SystemError) -> (runs: [PageRun], hash: UInt64) {
        let size = regions.reduce(0) { $0 + $1.mapping.count }
        let found = Int(try base.status().st_size)
        guard found == size else { throw SystemError("memory file of \(found) bytes for \(size) bytes of memory", .invalidArgument) }
        try file.truncate(to: size)
        let before = try Mapping(base, count: size, access: .read, sharing: .private)
        let known = try Self.dataRanges(of: base, 0..<size)
        var changes = Changes(file)
        for region in regions {
            let start = region.fileOffset
            let mine = try dataRanges(of: region).map { $0.lowerBound + start..<$0.upperBound + start }
            for piece in Self.pieces(mine, known, within: start..<start + region.mapping.count) {
                for offset in stride(from: piece.range.lowerBound, to: piece.range.upperBound, by: Self.pageSize) {
                    let mine = unsafe piece.isMine ? region.mapping.base + (offset - start) : nil
                    let old = unsafe piece.isKnown ? before.base + offset : nil
                    guard unsafe !Self.isSame(mine, old) else { continue }
                    try changes.add(offset, region.mapping, offset - start, isZero: unsafe mine.map { unsafe Self.isZero($0) } ?? true)
                }
            }
        }
        return (changes.runs, changes.hash)
    }

    /// Puts pages of a file in place of those that are there.
    ///
    /// - Throws: for runs that are not in order, or beyond memory.
    public func apply(_ runs: [PageRun], from file: Descriptor) throws(SystemError) {
        let pages = UInt64(regions.reduce(0) { $0 + $1.mapping.count } / Self.pageSize)
        guard Int(try file.status().st_size) == Int(pages) * Self.pageSize else { throw SystemError("memory file of another size", .invalidArgument) }
        var next: UInt64 = 0
        for run in runs {
            guard run.first >= next, run.count > 0, run.first < pages, run.count <= pages - run.first else { throw SystemError("changed pages", .invalidArgument) }
            next = run.first + run.count
            try read(Int(run.first) * Self.pageSize..<Int(next) * Self.pageSize, from: file)
        }
    }

    private func read(_ range: Range<Int>, from file: Descriptor) throws(SystemError) {
        for region in regions {
            let part = range.clamped(to: region.fileOffset..<region.fileOffset + region.mapping.count)
            var done = part.lowerBound
            while done < part.upperBound {
                let place = unsafe region.mapping.base + (done - region.fileOffset)
                let count = try checkRetrying("read guest memory") { unsafe pread(file.raw, place, part.upperBound - done, done) }
                guard count > 0 else { throw SystemError("memory file ends early", .invalidArgument) }
                done += count
            }
        }
    }

    // MARK: Comparing

    /// The changed pages found so far.
    private struct Changes {
        let file: Descriptor
        var runs: [PageRun] = []
        var hash: UInt64 = 0

        init(_ file: Descriptor) { self.file = file }

        mutating func add(_ fileOffset: Int, _ mapping: Mapping, _ offset: Int, isZero: Bool) throws(SystemError) {
            let page = UInt64(fileOffset / pageSize)
            if let last = runs.last, last.first + last.count == page {
                runs[runs.count - 1] = PageRun(first: last.first, count: last.count + 1)
            } else {
                runs.append(PageRun(first: page, count: 1))
            }
            if isZero { return }
            hash = ContentHash.of(mapping, offset..<offset + pageSize, seed: hash &+ page)
            try write(mapping, offset..<offset + pageSize, to: file, at: fileOffset)
        }
    }

    /// Nil stands for a hole.
    private static func isSame(_ a: UnsafeMutableRawPointer?, _ b: UnsafeMutableRawPointer?) -> Bool {
        switch unsafe (a, b) {
        case (nil, nil): true
        case (let page?, nil), (nil, let page?): unsafe isZero(page)
        case (let a?, let b?): unsafe memcmp(a, b, pageSize) == 0
        }
    }

    private struct Piece {
        let range: Range<Int>
        let isMine: Bool
        let isKnown: Bool
    }

    /// Cuts `whole` where one of two sorted lists of ranges begins or ends, and leaves out what is in neither: reading a hole would fill it.
    private static func pieces(_ mine: [Range<Int>], _ known: [Range<Int>], within whole: Range<Int>) -> [Piece] {
        let cuts = Set([whole.lowerBound, whole.upperBound] + (mine + known).flatMap { [$0.lowerBound, $0.upperBound] })
        let sorted = cuts.filter { whole.contains($0) || $0 == whole.upperBound }.sorted()
        var (mineLeft, knownLeft) = (mine[...], known[...])
        func covers(_ offset: Int, _ ranges: inout ArraySlice<Range<Int>>) -> Bool {
            while let first = ranges.first, first.upperBound <= offset { ranges.removeFirst() }
            return ranges.first?.contains(offset) ?? false
        }
        return zip(sorted, sorted.dropFirst()).compactMap { start, end in
            let piece = Piece(range: start..<end, isMine: covers(start, &mineLeft), isKnown: covers(start, &knownLeft))
            return piece.isMine || piece.isKnown ? piece : nil
        }
    }
}
