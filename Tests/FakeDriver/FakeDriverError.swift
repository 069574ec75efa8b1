/// What went wrong between the fake driver and the device.
public enum FakeDriverError: Error, Equatable, CustomStringConvertible {
    /// The device did not take a status bit.
    case statusRefused(wanted: UInt8, read: UInt8)
    /// Not a virtio-mmio version 2 device, or no device.
    case notVirtio
    case queueRefused(Int)
    /// No free descriptors for the chain.
    case queueFull
    /// Guest memory is used up: give the driver more.
    case outOfMemory(Int)
    /// Nothing came in time; an interrupt may have been lost.
    case timedOut(String)
    /// The device returned a head it was not given, or returned it twice.
    case unexpectedUsed(UInt32)
    /// The device says it wrote more than it was offered.
    case wroteTooMuch(UInt32, offered: Int)

    public var description: String {
        switch self {
        case .statusRefused(let wanted, let read): "status \(wanted) was refused: \(read)"
        case .notVirtio: "not a virtio-mmio device"
        case .queueRefused(let index): "queue \(index) was refused"
        case .queueFull: "no free descriptors"
        case .outOfMemory(let count): "no \(count) bytes of guest memory left"
        case .timedOut(let what): "timed out: \(what)"
        case .unexpectedUsed(let head): "used ring names chain \(head), which is not with the device"
        case .wroteTooMuch(let written, let offered): "device wrote \(written) bytes into \(offered)"
        }
    }
}
