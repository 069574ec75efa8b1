public import Linux

/// Which pages of its file a machine's memory has touched: those that are in its page tables.
extension GuestMemory {
    struct Watch: Sendable {
        let pagemap: Descriptor
        /// Of the file.
        let data: [Range<Int>]
    }

    /// Gaps of so many pages are filled: a disk reads them in less time than another request takes it.
    private static let bridged: UInt64 = 16
    /// The text of so many fits a packet of the control socket.
    private static let runLimit = 200
    /// The kernel maps cached pages around one that is read (Linux, mm/memory.c, do_fault_around), 16 of them, which made three times as
    /// many as the guest had touched. Not beyond a mapping's end: so mappings are this large.
    private static let pieceSize = 4 * pageSize
    /// A process has 65,530 mappings at most (vm.max_map_count).
    private static let pieceLimit = 8192
    /// Of the file, looked up at once.
    private static let partSize = 64 << 20
    /// In the upper byte of a page's eight in pagemap: present, or swapped out (Linux, admin-guide/mm/pagemap.rst).
    private static let touchedBits: UInt8 = 0xc0
    /// There, too: the file's page, not a copy of it.
    private static let fileBit: UInt8 = 0x20

    /// Begins to watch memory that is mapped from `file` and has not been touched yet. ``touchedPages()`` ends it.
    ///
    /// - Parameter pagemap: `/proc/self/pagemap`.
    public func watch(_ file: Descriptor, by pagemap: Descriptor) throws(SystemError) {
        let data = try Self.dataRanges(of: file, 0..<Int(try file.status().st_size))
        var pieces = 0
        for (region, range) in parts(of: data) {
            // Every second one apart leaves those between apart, too.
            for start in stride(from: range.lowerBound - range.lowerBound % (2 * Self.pieceSize), to: range.upperBound, by: 2 * Self.pieceSize) {
                let piece = (start..<start + Self.pieceSize).clamped(to: range)
                guard !piece.isEmpty, pieces < Self.pieceLimit else { continue }
                try region.mapping.setApart(at: piece.lowerBound - region.fileOffset, count: piece.count)
                pieces += 1
            }
        }
        watch.withLock { $0 = Watch(pagemap: pagemap, data: data) }
    }

    /// Pages of the file, in order, with small gaps filled; none unless they are watched. Holes of the file are left out.
    public func touchedPages() throws(SystemError) -> [PageRun] {
        // The pagemap is closed: it tells root physical addresses.
        guard let watch = watch.withLock({ $0.take() }) else { return [] }
        return try pages(of: watch, bridging: Self.bridged) { $0 & Self.touchedBits != 0 }
    }

    /// As ``touchedPages()``, those that have been written to, with as few others as can be; the watch goes on.
    public func writtenPages() throws(SystemError) -> [PageRun] {
        try watch.withLock { watch throws(SystemError) in
            guard let watch else { return [] }
            return try pages(of: watch, bridging: 0) { $0 & Self.touchedBits != 0 && $0 & Self.fileBit == 0 }
        }
    }

    /// - Parameter isWanted: of the upper byte of a page's entry in pagemap.
    private func pages(of watch: Watch, bridging: UInt64, _ isWanted: (UInt8) -> Bool) throws(SystemError) -> [PageRun] {
        var found: [Range<UInt64>] = []
        for (region, range) in parts(of: watch.data) {
            let address = unsafe Int(bitPattern: region.mapping.base) + (range.lowerBound - region.fileOffset)
            let entries = try watch.pagemap.read(upTo: range.count / Self.pageSize * 8, at: address / Self.pageSize * 8)
            for index in 0..<entries.count / 8 where isWanted(entries[8 * index + 7]) {
                let page = UInt64(range.lowerBound / Self.pageSize + index)
                Self.add(page..<page + 1, to: &found, bridging: bridging)
            }
        }
        var gap = max(1, bridging)
        while found.count > Self.runLimit {
            found = found.reduce(into: []) { Self.add($1, to: &$0, bridging: gap) }
            gap *= 2
        }
        return found.map { PageRun(first: $0.lowerBound, count: UInt64($0.count)) }
    }

    private static func add(_ pages: Range<UInt64>, to runs: inout [Range<UInt64>], bridging gap: UInt64) {
        if let last = runs.last, pages.lowerBound - last.upperBound <= gap {
            runs[runs.count - 1] = last.lowerBound..<pages.upperBound
        } else {
            runs.append(pages)
        }
    }

    /// Ranges of the file, cut where regions and parts end.
    private func parts(of data: [Range<Int>]) -> [(region: Region, range: Range<Int>)] {
        data.flatMap { data in
            regions.flatMap { region in
                let range = data.clamped(to: region.fileOffset..<region.fileOffset + region.mapping.count)
                return stride(from: range.lowerBound, to: range.upperBound, by: Self.partSize).map { start in
                    (region, start..<min(start + Self.partSize, range.upperBound))
                }
            }
        }
    }
}
