import Virtio

/// Which device answers at a guest-physical address outside memory.
struct MMIOBus: Sendable {
    private let transports: [MMIOTransport]
    private let starter: DeviceStarter

    /// Devices one page apart from ``MemoryMap/mmioStart``.
    init(_ transports: [MMIOTransport], _ starter: DeviceStarter) {
        self.transports = transports
        self.starter = starter
    }

    func read(_ address: UInt64, size: Int) -> UInt64 {
        guard let (transport, offset) = find(address) else { return .max }
        return transport.read(offset, count: size)
    }

    func write(_ address: UInt64, _ value: UInt64, size: Int) {
        guard let (transport, offset) = find(address) else { return }
        guard offset == MMIOTransport.statusOffset else { return transport.write(offset, value, count: size) }
        starter.perform { transport.write(offset, value, count: size) }
    }

    private func find(_ address: UInt64) -> (MMIOTransport, UInt64)? {
        guard address >= MemoryMap.mmioStart else { return nil }
        let offset = address - MemoryMap.mmioStart
        let index = offset / MemoryMap.mmioStride
        guard index < transports.count else { return nil }
        return (transports[Int(index)], offset % MemoryMap.mmioStride)
    }
}
