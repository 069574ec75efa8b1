import Glibc
import Linux
import Synchronization

/// Samples of where the boot CPU was at every tick of a timer: its RIP, and what on its kernel stack looks like a
/// return address. On a host that interprets the guest kernel a sample is worth its instructions, so the shares
/// are what a boot costs anywhere.
public final class Profile: Sendable {
    public struct Sample: Sendable {
        /// CLOCK_MONOTONIC, nanoseconds.
        public let time: UInt64
        /// The innermost address first.
        public let stack: [UInt64]
    }

    private let taken = Mutex<[Sample]>([])

    /// Keeps a boot of a quarter of an hour.
    private static let limit = 1 << 20
    private static let intervalMicroseconds: UInt32 = 1000

    public init() {}

    /// The samples so far, oldest first.
    public var samples: [Sample] { taken.withLock { $0 } }

    /// Where a kernel without address randomisation has its code.
    private static let kernelText: Range<UInt64> = 0xffff_ffff_8100_0000..<0xffff_ffff_8400_0000
    /// THREAD_SIZE of x86-64: stacks end at multiples of it.
    private static let stackSize: UInt64 = 16 << 10

    func record(_ context: Context) {
        let (rip, rsp) = (context.registers.rip, context.registers.rsp)
        var sample = [rip]
        if Self.kernelText.contains(rip), rsp % 8 == 0 {
            let stack = try? context.read(rsp, Int(Self.stackSize - rsp % Self.stackSize))
            let words = stride(from: 0, to: stack?.count ?? 0, by: 8).lazy.map { offset in
                stack?[offset..<offset + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) } ?? 0
            }
            sample += words.filter(Self.kernelText.contains)
        }
        let time = monotonicNanoseconds()
        taken.withLock { if $0.count < Self.limit { $0.append(Sample(time: time, stack: sample)) } }
    }

    func start(kicking kick: @escaping @Sendable () -> Void, while condition: @escaping @Sendable () -> Bool) throws(SystemError) -> Thread {
        try Thread("profile") {
            while condition() {
                usleep(Self.intervalMicroseconds)
                kick()
            }
        }
    }
}
