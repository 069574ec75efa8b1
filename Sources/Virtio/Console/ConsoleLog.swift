import Linux
import Synchronization

/// A guest's console output within a byte budget: its beginning and its end.
///
/// A guest that prints for ever must not fill the host's disk, and what it printed last before a crash
/// matters most. So when the file is as long as the budget, it is cut back to its first half, and a line
/// that says how much is missing and the newest bytes follow. Unlike a ring, such a file is always in order;
/// unlike a tail kept in memory it can be read at any time and survives the VMM. A byte is written twice
/// at most.
///
/// A pipe, socket or terminal has no budget, since it fills nothing. What its reader does not take at once
/// is dropped: a driver spins until its output is taken, so waiting would stop the guest.
public final class ConsoleLog: Sendable {
    private struct State {
        /// Where the next byte goes, from the start of this log.
        var length = 0
        /// Bytes printed so far.
        var printed = 0
        /// The newest bytes after the beginning, at least as many as a cut keeps.
        var recent: [UInt8] = []
    }

    public static let minimumBudget = 4096
    /// Most bytes of the end that a cut keeps, in memory too.
    private static let recentLimit = 64 << 10

    private let output: Descriptor
    private let isFile: Bool
    private let start: Int
    private let budget: Int
    private let dropped = Counter()
    private let state = Mutex(State())

    /// - Parameters:
    ///   - output: a regular file, appended to, or a pipe, socket or terminal.
    ///   - byteBudget: most bytes this log adds to a file; at least ``minimumBudget``.
    public init(output: Descriptor, byteBudget: Int) throws(SystemError) {
        let status = try output.status()
        self.output = output
        isFile = status.isRegularFile
        start = isFile ? Int(status.st_size) : 0
        budget = max(byteBudget, Self.minimumBudget)
    }

    /// Bytes that went nowhere: the reader was slow or gone, or the disk is full.
    public var droppedBytes: UInt64 { dropped.value }

    /// Adds what was printed. From any thread; never waits for a reader.
    public func append(_ bytes: [UInt8]) {
        state.withLock { isFile ? appendToFile(bytes[...], &$0) : appendToStream(bytes[...]) }
    }

    // MARK: Files

    private var headLength: Int { budget / 2 }
    private var keptAtCut: Int { min(budget / 4, Self.recentLimit) }

    private func appendToFile(_ bytes: ArraySlice<UInt8>, _ state: inout State) {
        var rest = bytes
        while !rest.isEmpty {
            if state.length >= budget { cut(&state) }
            let limit = state.length < headLength ? headLength : budget
            let part = rest.prefix(limit - state.length)
            rest = rest.dropFirst(part.count)
            if state.length >= headLength { remember(part, &state) }
            write(part, &state)
            state.printed += part.count
        }
    }

    private func remember(_ bytes: ArraySlice<UInt8>, _ state: inout State) {
        state.recent += bytes
        // Let it grow to twice what is needed: moved once for every byte kept.
        if state.recent.count > 2 * keptAtCut { state.recent.removeFirst(state.recent.count - keptAtCut) }
    }

    private func cut(_ state: inout State) {
        let kept = state.recent.suffix(keptAtCut)
        guard (try? output.truncate(to: start + headLength)) != nil else {
            // Overwriting the end keeps the budget and the newest bytes, if not their order.
            state.length = headLength
            return
        }
        state.length = headLength
        write(Array("\n[\(state.printed - headLength - kept.count) bytes left out]\n".utf8)[...], &state)
        write(kept, &state)
    }

    private func write(_ bytes: ArraySlice<UInt8>, _ state: inout State) {
        let went = (try? output.write(bytes, at: start + state.length)) ?? 0
        state.length += went
        dropped.add(bytes.count - went)
    }

    // MARK: Streams

    /// A pipe that is ready for writing takes this much without blocking (pipe(7), PIPE_BUF).
    private static let atomicWrite = 4096

    private func appendToStream(_ bytes: ArraySlice<UInt8>) {
        var rest = bytes
        while !rest.isEmpty, output.isReady(for: .writable), let went = try? output.write(rest.prefix(Self.atomicWrite)), went > 0 {
            rest = rest.dropFirst(went)
        }
        dropped.add(rest.count)
    }
}
