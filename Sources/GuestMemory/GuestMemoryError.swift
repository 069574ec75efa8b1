/// Why an access to guest memory was refused. The numbers are the guest's own.
public enum GuestMemoryError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Address and length do not lie together in one region.
    case outOfRange(address: UInt64, count: UInt64)
    /// An offset beyond a slice that was checked before.
    case outOfSlice(offset: Int, count: Int, sliceCount: Int)
    /// A piece of a file that a window shows, where only memory will do.
    case notMemory
    /// A buffer ended before what was to be read from or written to it.
    case bufferTooShort(needed: Int, remaining: Int)

    public var description: String {
        switch self {
        case .outOfRange(let address, let count):
            "guest address 0x\(String(address, radix: 16)) + \(count) is outside guest memory"
        case .outOfSlice(let offset, let count, let sliceCount):
            "offset \(offset) + \(count) is outside a slice of \(sliceCount) bytes"
        case .notMemory:
            "a file's page instead of memory"
        case .bufferTooShort(let needed, let remaining):
            "\(needed) bytes needed in a buffer with \(remaining) left"
        }
    }
}
