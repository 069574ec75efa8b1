import GuestMemory
import Linux

/// The driver's buffers for frames to come: as many as the largest frame takes are held, in one row, so that a frame may be read
/// before its length is known (virtio 1.2, 5.1.6.4, VIRTIO_NET_F_MRG_RXBUF).
final class NetworkReceiveBuffers {
    enum Outcome {
        /// So many bytes, the virtio header among them.
        case frame(Int)
        /// A frame is lost that the buffers were too small for.
        case truncated
        case none
        /// The driver must offer more first.
        case noBuffers
        /// The tap is gone.
        case failed
    }

    private struct Held {
        let head: UInt16
        let count: Int
    }

    let queue: Queue
    /// A frame may go on in the next buffer.
    private let isMerged: Bool
    private var held = FIFO<Held>()
    /// The room of those held.
    private var room = GuestBuffer()
    private var chain = DescriptorChain()

    init(_ queue: Queue, merged: Bool) {
        self.queue = queue
        isMerged = merged
    }

    /// Reads one frame of at most `limit` bytes. The driver is not told yet.
    func receive(from tap: Descriptor, atMost limit: Int) throws(QueueError) -> Outcome {
        // One byte more: a tap cuts a frame off without a word.
        guard try hold(limit + 1) else { return .noBuffers }
        let wanted = isMerged ? limit + 1 : min(limit + 1, held.first?.count ?? 0)
        let count: Int
        do throws(SystemError) { count = try room.peekFill(from: tap, count: wanted) } catch {
            return error.errno == .wouldBlock ? .none : .failed
        }
        guard count < wanted else { return .truncated }
        guard count > NetworkHeader.size else { return count == 0 ? .failed : .truncated }
        try give(count)
        return .frame(count)
    }

    /// Holds room for `count` bytes, or without merging one buffer: whether there is as much.
    private func hold(_ count: Int) throws(QueueError) -> Bool {
        while isMerged ? room.remaining < count : held.isEmpty {
            guard try queue.pop(into: &chain) else {
                // Notifications are off while there is enough.
                guard try queue.enableNotifications() else { return false }
                continue
            }
            guard chain.writable.remaining > NetworkHeader.size else { throw .bufferTooSmall(chain.writable.remaining) }
            held.append(Held(head: chain.head, count: chain.writable.remaining))
            room.append(remainderOf: chain.writable)
        }
        try queue.disableNotifications()
        return true
    }

    /// Gives the buffers that `count` bytes have filled to the driver.
    private func give(_ count: Int) throws(QueueError) {
        var used = 0
        var capacity = 0
        for buffer in held.contents where capacity < count {
            capacity += buffer.count
            used += 1
        }
        do throws(GuestMemoryError) {
            try room.write(UInt16(truncatingIfNeeded: used), at: NetworkHeader.bufferCountOffset)
            try room.skip(capacity)
        } catch { throw .memory(error) }
        room.dropRead()
        var left = count
        for _ in 0..<used {
            guard let buffer = held.popFirst() else { return }
            try queue.push(buffer.head, written: UInt32(min(left, buffer.count)))
            left -= buffer.count
        }
    }
}
