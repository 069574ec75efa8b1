import GuestMemory
import Linux

/// Moves frames between the guest's queues and the tap, on the device's thread, straight between guest pages and the kernel.
///
/// Only the first bytes of a frame from the guest are copied, its virtio and its Ethernet header: what is judged is what is
/// sent, whatever the guest writes meanwhile. What the device cannot know, such as where a packet's TCP header is, the kernel
/// judges (virtio_net_hdr_to_skb in include/linux/virtio_net.h) and refuses.
final class NetworkHandler {
    /// Frames moved before the thread looks at its other duties.
    private static let batchLimit = 64
    /// Ethernet header and one VLAN tag.
    private static let frameOverhead = 18

    private let receiveBuffers: NetworkReceiveBuffers
    private let transmit: Queue
    private let features: UInt64
    private let interrupt: Interrupt
    private let metrics: NetworkMetrics
    private unowned let loop: EventLoop

    private var link: NetworkLink?
    private var onLoss: (NetworkLink) -> Void = { _ in }
    /// The tap has, or may have, frames for the guest.
    private var isReadable = false
    /// The tap was full.
    private var isBlocked = false
    private var isBroken = false
    /// Most bytes a read of the tap may bring.
    private var largestFrame = 0
    private var chain = DescriptorChain()
    private var head = [UInt8](repeating: 0, count: NetworkHeader.size + NetworkHeader.ethernetSize)

    init(receive: Queue, transmit: Queue, _ activation: Activation, _ metrics: NetworkMetrics, _ loop: EventLoop) {
        receiveBuffers = NetworkReceiveBuffers(receive, merged: activation.has(NetworkFeature.mergedBuffers))
        self.transmit = transmit
        features = activation.features
        interrupt = activation.interrupt
        self.metrics = metrics
        self.loop = loop
    }

    /// Registers both queues with the loop, which keeps this object from here on.
    func start() throws(SystemError) {
        try serve(transmit) { () throws(QueueError) in try self.send() }
        try serve(receiveBuffers.queue) { () throws(QueueError) in try self.receive() }
    }

    private func serve(_ queue: Queue, _ handle: @escaping () throws(QueueError) -> Void) throws(SystemError) {
        try loop.serve(queue, interrupt) { () throws(QueueError) in
            do throws(QueueError) { if !self.isBroken { try handle() } } catch {
                self.isBroken = true
                if let link = self.link { self.loop.remove(link.frames) }
                throw error
            }
        }
    }

    // MARK: Link

    /// Takes the tap that is there now, if it is another than before.
    ///
    /// - Parameter onLoss: called when the tap is gone.
    func use(_ new: NetworkLink?, onLoss: @escaping (NetworkLink) -> Void) {
        guard let new, !isBroken, link?.frames !== new.frames else { return }
        if let link { loop.remove(link.frames) }
        self.onLoss = onLoss
        do throws(SystemError) {
            try new.accept(features)
            try loop.add(new.frames, Self.interest) { [unowned self] ready in handle(ready) }
        } catch {
            return onLoss(new)
        }
        link = new
        let offloads = NetworkFeature.guestSegments4 | NetworkFeature.guestSegments6
        let payload = features & offloads != 0 ? NetworkHeader.largestPayload : Int(new.mtu)
        largestFrame = NetworkHeader.size + payload + Self.frameOverhead
        // What was there before it was looked at makes no edge.
        isReadable = true
        receiveBuffers.queue.notification.signal()
    }

    private static let interest: EventLoop.Interest = [.readable, .writable, .edgeTriggered]

    private func handle(_ ready: EventLoop.Interest) {
        if ready.contains(.error) || ready.contains(.hangup) { return lose() }
        if ready.contains(.readable) {
            isReadable = true
            receiveBuffers.queue.notification.signal()
        }
        if ready.contains(.writable), isBlocked {
            isBlocked = false
            transmit.notification.signal()
        }
    }

    private func lose() {
        guard let link else { return }
        loop.remove(link.frames)
        self.link = nil
        isReadable = false
        isBlocked = false
        onLoss(link)
        transmit.notification.signal()
    }

    // MARK: From the guest

    private func send() throws(QueueError) {
        var left = Self.batchLimit
        repeat {
            try transmit.disableNotifications()
            while left > 0, !isBlocked, try transmit.pop(into: &chain) {
                left -= 1
                guard sendFrame() else {
                    transmit.putBack(1)
                    break
                }
                try transmit.push(chain.head, written: 0)
            }
            try transmit.signalIfNeeded()
            // The tap's next edge brings the thread back, and so does its loss.
            if isBlocked { return }
            if left == 0 { return transmit.notification.signal() }
        } while try transmit.enableNotifications()
    }

    /// - Returns: false when the tap is full: the frame stays the guest's.
    private func sendFrame() -> Bool {
        let count = chain.readable.remaining
        guard let link, count >= head.count, count <= NetworkHeader.size + NetworkHeader.largestPayload + Self.frameOverhead,
            (try? chain.readable.read(into: &head)) != nil,
            NetworkHeader.isSound(&head, frame: count - NetworkHeader.size, features)
        else {
            metrics.dropped.add()
            return true
        }
        guard link.address.isAt(NetworkHeader.size + NetworkHeader.sourceOffset, of: head) else {
            metrics.spoofed.add()
            return true
        }
        do throws(SystemError) {
            try chain.readable.drain(after: head, to: link.frames)
            metrics.framesFromGuest.add()
            metrics.bytesFromGuest.add(count - NetworkHeader.size)
        } catch {
            if error.errno == .wouldBlock {
                metrics.blocked.add()
                isBlocked = true
                // Looks again, so that room made meanwhile makes an edge, too.
                try? loop.modify(link.frames, Self.interest)
                return false
            }
            metrics.dropped.add()
        }
        return true
    }

    // MARK: To the guest

    private func receive() throws(QueueError) {
        guard let link else { return }
        var left = Self.batchLimit
        var isLost = false
        receiving: while isReadable, left > 0 {
            switch try receiveBuffers.receive(from: link.frames, atMost: largestFrame) {
            case .frame(let count):
                left -= 1
                metrics.framesToGuest.add()
                metrics.bytesToGuest.add(count - NetworkHeader.size)
            case .truncated:
                left -= 1
                metrics.truncated.add()
            case .none: isReadable = false
            case .noBuffers:
                metrics.stalls.add()
                break receiving
            case .failed:
                isLost = true
                break receiving
            }
        }
        try receiveBuffers.queue.signalIfNeeded()
        if isLost { return lose() }
        if isReadable, left == 0 { receiveBuffers.queue.notification.signal() }
    }
}
