import Linux

/// Where in the guest's window files of one share are shown (DAX). Gone with the share.
struct MappedRanges {
    private let window: MappingWindow
    /// Length by position. Positions are pages of the window, so there cannot be more of them than that.
    private var ranges: [Int: Int] = [:]

    init(_ window: MappingWindow) {
        self.window = window
    }

    mutating func show(_ file: Descriptor, from offset: Int64, count: Int, at position: Int, isWritable: Bool) throws(SystemError) {
        try window.show(file, from: offset, count: count, at: position, isWritable: isWritable)
        ranges[position] = max(count, ranges[position] ?? 0)
    }

    mutating func hide(at position: Int, count: Int) throws(SystemError) {
        try window.hide(at: position, count: count)
        if let known = ranges[position], known <= count { ranges[position] = nil }
    }

    mutating func hideAll() {
        for (position, count) in ranges { try? window.hide(at: position, count: count) }
        ranges = [:]
    }
}
