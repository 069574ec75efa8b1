import Glibc
import Linux
import Synchronization

/// Samples of where the boot CPU was: its RIP at every tick of a timer. On a host that interprets the
/// guest kernel a sample is worth its instructions, so the shares are what a boot costs anywhere.
public final class Profile: Sendable {
    private let addresses = Mutex<[UInt64]>([])

    /// Keeps a boot of a quarter of an hour.
    private static let limit = 1 << 20
    private static let intervalMicroseconds: UInt32 = 1000

    public init() {}

    /// The samples so far, oldest first.
    public var samples: [UInt64] { addresses.withLock { $0 } }

    func record(_ address: UInt64) {
        addresses.withLock { if $0.count < Self.limit { $0.append(address) } }
    }

    func start(kicking thread: Thread, while condition: @escaping @Sendable () -> Bool) throws(SystemError) -> Thread {
        try Thread("profile") {
            while condition() {
                usleep(Self.intervalMicroseconds)
                thread.interrupt(VCPURunner.kickSignal)
            }
        }
    }
}
