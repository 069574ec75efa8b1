import FUSE
import Linux
import Synchronization

/// A file system (virtio 1.2, 5.11): FUSE requests of the guest, served by a ``FileServer``.
///
/// One thread serves both queues in turn; requests that wait for a disk go to ``SlowRequests``.
public final class FileSystemDevice: VirtioDevice {
    public let deviceID: UInt32 = 26
    public let name = "fs"
    /// No notification queue: nothing is ever sent to the guest unasked.
    public let features: UInt64 = 0
    /// FORGET and INTERRUPT first, then everything else. Linux limits a request to as many pages as the
    /// queue is long, less four: 1 MiB needs 260.
    public let queueSizes: [UInt16] = [128, 1024]
    public let configuration: [UInt8]
    /// The DAX window (5.11.6.2, VIRTIO_FS_SHMCAP_ID_CACHE).
    public let sharedMemory: MappingWindow?
    public let metrics = FileSystemMetrics()
    private let server: FileServer

    private struct Running {
        let thread: DeviceThread
        let slow: SlowRequests
    }

    private let running = Mutex<Running?>(nil)

    /// - Parameter tag: what the guest mounts; at most 36 bytes of UTF-8, the rest is cut off.
    public init(tag: String, server: FileServer) {
        let tag = Array(tag.utf8.prefix(36))
        configuration = tag + [UInt8](repeating: 0, count: 36 - tag.count) + [1, 0, 0, 0]  // num_request_queues
        self.server = server
        sharedMemory = server.shares.window
    }

    public func activate(_ activation: Activation) throws(SystemError) {
        let queues = activation.queues.compactMap { $0 }
        let server = server
        let metrics = metrics
        let slow = try SlowRequests(server)
        let thread = try DeviceThread(name) { loop in
            let worker = try server.makeWorker()
            for queue in queues {
                let handler = FileSystemHandler(queue, worker, slow, metrics)
                try loop.serve(queue, activation.interrupt) { () throws(QueueError) in try handler.serve() }
            }
            try loop.add(slow.finished.descriptor, .readable) { [unowned loop] _ in
                do { try slow.giveBack() } catch {
                    activation.interrupt.signalBroken()
                    loop.remove(slow.finished.descriptor)
                }
            }
        }
        running.withLock { $0 = Running(thread: thread, slow: slow) }
    }

    public func reset() {
        running.withLock {
            $0?.thread.stop()
            $0?.slow.stop()
            $0 = nil
        }
        // The next driver starts with FUSE_INIT; what this one held is let go.
        server.reset()
    }

    /// How long requests that wait for a disk may take before a snapshot is given up.
    private static let pauseMilliseconds = 5_000

    public func pause() throws(SystemError) {
        try running.withLock { running throws(SystemError) in
            running?.thread.pause()
            try running?.slow.finishAll(milliseconds: Self.pauseMilliseconds)
        }
    }

    public func resume() { running.withLock { $0?.thread.resume() } }

    public func savedState() throws -> [UInt8] { try server.savedState() }

    public func restoreState(_ bytes: [UInt8]) throws { try server.restoreState(bytes) }
}
