/// Which pages of its file a guest writes to at once when it goes on, and having them ready.
extension GuestMemory {
    /// Copies pages of the file before the guest writes to them: a fault that leaves the guest costs several times what one page
    /// of many does (in the lab 16 ms of a restore for 100 pages). Of no meaning to the guest; pages that are not there are left out.
    public func prefault(_ runs: [PageRun]) {
        for run in runs {
            for region in regions {
                let pages = UInt64(region.fileOffset / Self.pageSize)..<UInt64((region.fileOffset + region.mapping.count) / Self.pageSize)
                let first = max(run.first, pages.lowerBound)
                let end = run.first.addingReportingOverflow(run.count)
                let past = min(end.overflow ? .max : end.partialValue, pages.upperBound)
                guard first < past else { continue }
                region.mapping.populate(at: Int(first - pages.lowerBound) * Self.pageSize, count: Int(past - first) * Self.pageSize)
            }
        }
    }
}
