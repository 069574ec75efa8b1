import GuestMemory

/// Answers the driver's requests to plug blocks in and out (virtio 1.2, 5.15.6).
final class MemoryHandler {
    private enum Request {
        static let plug: UInt16 = 0
        static let unplug: UInt16 = 1
        static let unplugAll: UInt16 = 2
        static let state: UInt16 = 3
    }

    /// struct virtio_mem_resp.
    private static let answerSize: UInt32 = 10

    private let queue: Queue
    private unowned let device: MemoryDevice
    private var chain = DescriptorChain()

    init(_ queue: Queue, _ device: MemoryDevice) {
        self.queue = queue
        self.device = device
    }

    func answerAll() throws(QueueError) {
        let device = device
        try queue.processAll(&chain) { chain in
            let (answer, kind) = Self.answer(&chain.readable, device)
            device.metrics.requests.add()
            if answer != .acknowledged { device.metrics.refused.add() }
            let words: [UInt16] = [answer.rawValue, 0, 0, 0, kind?.rawValue ?? 0]
            for word in words { guard (try? chain.writable.write(word)) != nil else { return 0 } }
            return Self.answerSize
        }
    }

    /// struct virtio_mem_req: a type and six bytes of padding; an address and a number of blocks.
    private static func answer(_ request: inout GuestBuffer, _ device: MemoryDevice) -> (MemoryBlocks.Answer, MemoryBlocks.Kind?) {
        do throws(GuestMemoryError) {
            let type: UInt16 = try request.read()
            try request.skip(6)
            if type == Request.unplugAll { return (device.handle { $0.unplugAll() }, nil) }
            let address: UInt64 = try request.read()
            let count: UInt16 = try request.read()
            switch type {
            case Request.plug: return (device.handle { $0.plug(address, count) }, nil)
            case Request.unplug: return (device.handle { $0.unplug(address, count) }, nil)
            case Request.state:
                guard let kind = device.handle({ $0.kind(address, count) }) else { return (.error, nil) }
                return (.acknowledged, kind)
            default: return (.error, nil)
            }
        } catch { return (.error, nil) }
    }
}
