import Linux
import Synchronization
import Virtio

/// Copies what the driver wrote into the chain's writable part, on a thread of its own.
final class EchoDevice: VirtioDevice {
    let deviceID: UInt32 = 42
    let name = "echo"
    let features: UInt64 = 1 << 5
    let queueSizes: [UInt16]
    let configuration: [UInt8] = [1, 2, 3, 4, 5, 6, 7]
    private let thread = Mutex<DeviceThread?>(nil)

    init(queueSizes: [UInt16] = [256]) {
        self.queueSizes = queueSizes
    }

    func activate(_ activation: Activation) throws(SystemError) {
        let queues = activation.queues.compactMap { $0 }
        let interrupt = activation.interrupt
        let started = try DeviceThread(name) { loop in
            for queue in queues {
                try loop.add(queue.notification.descriptor, .readable) { [unowned loop] _ in
                    queue.notification.drain()
                    do {
                        var chain = DescriptorChain()
                        try queue.processAll(&chain) { chain in
                            let count = min(chain.readable.remaining, chain.writable.remaining)
                            guard let bytes = try? chain.readable.readBytes(count), (try? chain.writable.write(bytes)) != nil else { return 0 }
                            return UInt32(count)
                        }
                    } catch {
                        interrupt.signalBroken()
                        loop.remove(queue.notification.descriptor)
                    }
                }
            }
        }
        thread.withLock { $0 = started }
    }

    func reset() {
        thread.withLock {
            $0?.stop()
            $0 = nil
        }
    }

    func pause() { thread.withLock { $0?.pause() } }

    func resume() { thread.withLock { $0?.resume() } }
}

/// Does nothing: the test takes its queues and plays the device itself.
final class ManualDevice: VirtioDevice {
    struct Calls: Equatable {
        var activations = 0
        var resets = 0
        var configurationWrites: [String] = []
    }

    let deviceID: UInt32 = 42
    let name = "manual"
    let features: UInt64 = 0b11 << 40 | 1
    let queueSizes: [UInt16] = [256, 16]
    let configuration: [UInt8] = [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77]
    private let state = Mutex<(calls: Calls, activation: Activation?)>((Calls(), nil))
    private let activationError = Mutex<SystemError?>(nil)

    var calls: Calls { state.withLock { $0.calls } }
    var activation: Activation? { state.withLock { $0.activation } }

    func queue(_ index: Int = 0) throws -> Queue {
        guard let queue = activation?.queues[index] else { throw SystemError("queue \(index) is not active", .invalidArgument) }
        return queue
    }

    /// Makes the next activations fail.
    func failActivation(_ error: SystemError?) {
        activationError.withLock { $0 = error }
    }

    func writeConfiguration(_ bytes: [UInt8], at offset: Int) {
        state.withLock { $0.calls.configurationWrites.append("\(bytes)@\(offset)") }
    }

    func activate(_ activation: Activation) throws(SystemError) {
        if let error = activationError.withLock({ $0 }) { throw error }
        state.withLock {
            $0.calls.activations += 1
            $0.activation = activation
        }
    }

    func reset() {
        state.withLock {
            $0.calls.resets += 1
            $0.activation = nil
        }
    }

    func pause() {}

    func resume() {}
}
