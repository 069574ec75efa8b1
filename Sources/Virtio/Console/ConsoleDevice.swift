import Linux

/// A console with one port (virtio 1.2, 5.3): what the guest kernel prints to `hvc0`. It has no input;
/// containers' own terminals are vsock streams.
public final class ConsoleDevice: VirtioDevice {
    public let deviceID: UInt32 = 3
    public let name = "console"
    public let features: UInt64 = 0
    /// receiveq, transmitq (5.3.2).
    public let queueSizes: [UInt16] = [64, 64]
    /// `le16 cols, rows; le32 max_nr_ports, emerg_wr`, all of them for features not offered (5.3.4).
    public let configuration = [UInt8](repeating: 0, count: 12)
    public let metrics = ConsoleMetrics()
    private let log: ConsoleLog
    private let thread = DeviceThreadSlot()

    /// - Parameter log: may be written by others too, such as an early serial port.
    public init(log: ConsoleLog) {
        self.log = log
    }

    /// - Parameters:
    ///   - output: where the guest's output goes.
    ///   - byteBudget: as in ``ConsoleLog/init(output:byteBudget:)``.
    public convenience init(output: Descriptor, byteBudget: Int) throws(SystemError) {
        self.init(log: try ConsoleLog(output: output, byteBudget: byteBudget))
    }

    public func activate(_ activation: Activation) throws(SystemError) {
        guard let transmit = activation.queues[1] else { return }
        let (log, metrics) = (log, metrics)
        thread.hold(try DeviceThread(name) { loop in
            let handler = ConsoleHandler(transmit, log, metrics)
            try loop.serve(transmit, activation.interrupt) { () throws(QueueError) in try handler.writeAll() }
        })
    }

    public func reset() { thread.stop() }

    public func pause() { thread.pause() }

    public func resume() { thread.resume() }
}
