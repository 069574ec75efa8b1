import CLinux

/// Fills and copies guest memory for a guest whose kernel is interpreted: what takes that some 700 instructions a page is one
/// access here (kernel-config/patches/0010, where the requests are described).
///
/// It is no more than the guest could do itself: addresses go through its own page tables, with the rights it runs with. A
/// request that meets anything but RAM is left to the guest, though some of it may be done.
enum MemoryPort {
    static let number: UInt16 = 0xbb

    private enum Request { static let ask: UInt8 = 0, fill: UInt8 = 1, copy: UInt8 = 2, repeatPattern: UInt8 = 3, random: UInt8 = 4 }

    private enum Answer { static let done: UInt8 = 0, left: UInt8 = 0xff }

    /// Bytes of a request: a vCPU is to be stopped within milliseconds.
    static let limit: UInt64 = 16 << 20

    /// Does what `registers` say at the time of an `IN` from the port.
    ///
    /// - Returns: what the guest reads in AL: 0 if all is done.
    static func answer(_ registers: kvm_regs, _ tables: PageTables) throws -> UInt8 {
        let request = UInt8(truncatingIfNeeded: registers.rax)
        if request == Request.ask { return Answer.done }
        guard registers.rcx <= limit else { return Answer.left }
        let count = Int(registers.rcx)
        do {
            switch request {
            case Request.fill: try tables.fill(registers.rdi, count, with: UInt8(truncatingIfNeeded: registers.rsi))
            case Request.copy: try tables.copy(registers.rsi, to: registers.rdi, count)
            case Request.repeatPattern:
                guard let size = patternSize(registers.rdx), registers.rdi % registers.rdx == 0 else { return Answer.left }
                try tables.fill(registers.rdi, count, with: try tables.read(registers.rsi, size))
            case Request.random: try tables.fillWithRandomBytes(registers.rdi, count)
            default: return Answer.left
            }
        } catch is GuestFault {
            return Answer.left
        }
        return Answer.done
    }

    /// A power of two no larger than a page: patterns then start anew with each page.
    private static func patternSize(_ value: UInt64) -> Int? {
        value.nonzeroBitCount == 1 && value <= 4096 ? Int(value) : nil
    }
}
