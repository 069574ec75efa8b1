import GuestMemory
import Linux

/// The driver's receive queue: what goes to the guest goes into the buffers it offers there.
final class VsockReceiveQueue {
    enum Outcome {
        /// The driver offers no buffer.
        case noBuffer
        /// Bytes sent, in how many buffers, and whether they filled all that was offered.
        case sent(bytes: Int, buffers: Int, full: Bool)
        case wouldBlock
        case endOfStream
        case failed
    }

    /// Most buffers filled by one read. Linux offers 3.7 KiB each, so this is a full packet's worth and more.
    static let maximumBatch = 32

    let queue: Queue
    private let metrics: VsockMetrics
    private var chains = (0..<maximumBatch).map { _ in DescriptorChain() }
    private var payload = GuestBuffer()

    init(_ queue: Queue, _ metrics: VsockMetrics) {
        self.queue = queue
        self.metrics = metrics
    }

    /// Sends a packet without payload: whether there was a buffer for it.
    func send(_ header: VsockHeader) throws(QueueError) -> Bool {
        guard try take(0) else { return false }
        try push(0, header)
        return true
    }

    /// Reads at most `limit` bytes from `socket` straight into at most `buffers` of the driver's buffers,
    /// each of which becomes a packet under `header`.
    func send(_ header: VsockHeader, from socket: Descriptor, limit: Int, buffers: Int) throws(QueueError) -> Outcome {
        payload.removeAll()
        var taken = 0
        while taken < min(buffers, Self.maximumBatch), payload.remaining < limit, try take(taken) {
            var body = chains[taken].writable
            do { try body.skip(VsockHeader.size) } catch { throw .memory(error) }
            payload.append(remainderOf: body)
            taken += 1
        }
        guard taken > 0 else { return .noBuffer }
        let wanted = min(limit, payload.remaining)
        let count: Int
        do { count = try payload.fill(from: socket, count: wanted) } catch {
            queue.putBack(taken)
            return error.errno == .wouldBlock ? .wouldBlock : .failed
        }
        guard count > 0 else {
            queue.putBack(taken)
            return .endOfStream
        }
        var packet = header
        var left = count
        var used = 0
        while left > 0 {
            let part = min(left, chains[used].writable.remaining - VsockHeader.size)
            packet.length = UInt32(part)
            try push(used, packet)
            left -= part
            used += 1
        }
        queue.putBack(taken - used)
        metrics.bytesToGuest.add(count)
        return .sent(bytes: count, buffers: used, full: count == wanted)
    }

    private func take(_ index: Int) throws(QueueError) -> Bool {
        guard try queue.pop(into: &chains[index]) else { return false }
        let room = chains[index].writable.remaining
        guard room > VsockHeader.size else { throw .bufferTooSmall(room) }
        return true
    }

    private func push(_ index: Int, _ header: VsockHeader) throws(QueueError) {
        do { try header.write(to: &chains[index].writable) } catch { throw .memory(error) }
        try queue.push(chains[index].head, written: UInt32(VsockHeader.size) + header.length)
        metrics.packetsToGuest.add()
    }
}
