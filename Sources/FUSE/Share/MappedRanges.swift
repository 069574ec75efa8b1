import Linux

/// Where in the guest's window files of one share are shown (DAX). Gone with the share.
struct MappedRanges {
    private struct Shown {
        /// Most bytes shown there since it was last hidden.
        var extent: Int
        var piece: SavedShare.Mapped
    }

    private let window: MappingWindow
    /// By position. Positions are pages of the window, so there cannot be more of them than that.
    private var ranges: [Int: Shown] = [:]

    init(_ window: MappingWindow) {
        self.window = window
    }

    /// What is shown, for a snapshot.
    var all: [SavedShare.Mapped] { ranges.values.map(\.piece).sorted { $0.position < $1.position } }

    mutating func show(
        _ file: Descriptor, of node: UInt64, from offset: Int64, count: Int, at position: Int, isWritable: Bool
    ) throws(SystemError) {
        try window.show(file, from: offset, count: count, at: position, isWritable: isWritable)
        let piece = SavedShare.Mapped(position: position, count: count, node: node, offset: offset, isWritable: isWritable)
        ranges[position] = Shown(extent: max(count, ranges[position]?.extent ?? 0), piece: piece)
    }

    mutating func hide(at position: Int, count: Int) throws(SystemError) {
        try window.hide(at: position, count: count)
        if let known = ranges[position], known.extent <= count { ranges[position] = nil }
    }

    mutating func hideAll() {
        for (position, shown) in ranges { try? window.hide(at: position, count: shown.extent) }
        ranges = [:]
    }
}
