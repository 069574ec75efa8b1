import Linux

/// Tells a person at a terminal what a slow start is doing: one line, rewritten each second, gone before the container runs.
final class StartProgress {
    /// Starts that are quicker say nothing.
    private static let patience: UInt64 = 2_000_000_000
    private static let interval: UInt64 = 1_000_000_000
    private static let clearLine = "\r\u{1B}[K"

    private let loop: EventLoop
    private let began = monotonicNanoseconds()
    private var timer: EventLoop.Timer?
    private var isShown = false
    /// What the start is doing now.
    var stage = ""

    /// - Returns: nil when nobody watches standard error.
    init?(on loop: EventLoop) {
        guard Descriptor.standardError.isTerminal else { return nil }
        self.loop = loop
        timer = loop.schedule(afterNanoseconds: Self.patience) { [weak self] in self?.show() }
    }

    private func show() {
        isShown = true
        write("\(Self.clearLine)starting: \(stage), \((monotonicNanoseconds() - began) / 1_000_000_000) s")
        timer = loop.schedule(afterNanoseconds: Self.interval) { [weak self] in self?.show() }
    }

    /// The line is the container's from here on.
    func end() {
        if let timer { loop.cancel(timer) }
        timer = nil
        if isShown { write(Self.clearLine) }
        isShown = false
    }

    private func write(_ text: String) {
        try? Descriptor.standardError.writeAll(text)
    }
}
