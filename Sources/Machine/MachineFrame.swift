import GuestMemory
import KVM
import Linux
import Virtio

/// A machine without vCPUs: memory, interrupt controllers, the guest image and devices, each in its place.
struct MachineFrame {
    let virtualMachine: VirtualMachine
    let memory: GuestMemory
    let image: Mapping?
    let imageAddress: UInt64
    let transports: [MMIOTransport]
    /// Where the devices are.
    let places: [(address: UInt64, interrupt: UInt32)]

    init(
        _ configuration: MachineConfiguration, system: System, memory: GuestMemory,
        devices makeDevices: (_ image: (address: UInt64, count: UInt64)?) throws -> [any VirtioDevice]
    ) throws(MachineError) {
        let virtualMachine = try stage("create the virtual machine") { try system.createVirtualMachine() }
        try stage("map guest memory") {
            for (slot, region) in memory.regions.enumerated() {
                try virtualMachine.setMemoryRegion(slot: UInt32(slot), guestAddress: region.guestAddress, mapping: region.mapping)
            }
        }
        let address = MemoryMap.imageAddress(ramBytes: configuration.memory)
        let image = try stage("map guest image") {
            try configuration.image.map { try Self.map($0, at: address, virtualMachine, slot: UInt32(memory.regions.count)) }
        }
        let devices = try stage("make devices") { try makeDevices(image.map { (address, UInt64($0.count)) }) }
        var next = (address: address + UInt64(image?.count ?? 0), slot: UInt32(memory.regions.count + 1))
        let limit = MemoryMap.pluggableAddress(ramBytes: configuration.memory, imageBytes: image?.count ?? 0)
        var transports: [MMIOTransport] = []
        for device in devices {
            let place = try stage("map shared memory of \(device.name)") {
                try device.sharedMemory.map { try Self.map($0, &next, below: limit, virtualMachine, memory) }
            }
            transports.append(try stage("attach devices") { try MMIOTransport(device, memory: memory, sharedMemoryAddress: place) })
        }
        // After all memory: KVM frees what an interrupt controller replaces behind a grace period, which the next memory region
        // would wait for (4 to 10 ms of a restore).
        try stage("set up interrupts") {
            try virtualMachine.setTSSAddress(MemoryMap.tss)
            try virtualMachine.setIdentityMapAddress(MemoryMap.identityMap)
            try virtualMachine.createIRQChip()
            try virtualMachine.createPIT()
        }
        places = try stage("attach devices") { try Self.attach(transports, to: virtualMachine) }
        self.virtualMachine = virtualMachine
        self.memory = memory
        self.image = image
        imageAddress = address
        self.transports = transports
    }

    /// Guest-physical ranges that are no RAM.
    var reserved: [(guestAddress: UInt64, count: UInt64)] { image.map { [(imageAddress, UInt64($0.count))] } ?? [] }

    private static func map(_ file: Descriptor, at address: UInt64, _ virtualMachine: VirtualMachine, slot: UInt32) throws -> Mapping {
        let size = Int(try file.status().st_size)
        guard size > 0, size % (2 << 20) == 0 else {
            throw MachineError("map guest image", "\(size) bytes; it must be a multiple of 2 MiB (scripts/build-guest-image)")
        }
        // Shared and read-only: every machine of a host uses the same page-cache pages.
        let mapping = try Mapping(file, count: size, access: .read, sharing: .shared)
        try virtualMachine.setMemoryRegion(slot: slot, guestAddress: address, mapping: mapping, readOnly: true)
        return mapping
    }

    /// Shows the guest a device's shared memory at the next boundary of a memory section.
    private static func map(
        _ window: MappingWindow, _ next: inout (address: UInt64, slot: UInt32), below limit: UInt64, _ virtualMachine: VirtualMachine,
        _ memory: GuestMemory
    ) throws -> UInt64 {
        let address = MemoryMap.nextSection(next.address)
        guard UInt64(window.count) <= limit, address <= limit - UInt64(window.count) else { throw SystemError("no room for it", .noSpace) }
        try virtualMachine.setMemoryRegion(slot: next.slot, guestAddress: address, mapping: window.mapping)
        memory.addWindow(window.mapping, at: address)
        next = (address + UInt64(window.count), next.slot + 1)
        return address
    }

    private static func attach(
        _ transports: [MMIOTransport], to virtualMachine: VirtualMachine
    ) throws -> [(address: UInt64, interrupt: UInt32)] {
        var places: [(address: UInt64, interrupt: UInt32)] = []
        for (index, transport) in transports.enumerated() {
            let address = MemoryMap.mmioStart + UInt64(index) * MemoryMap.mmioStride
            let interrupt = MemoryMap.firstInterrupt + UInt32(index)
            guard interrupt <= MemoryMap.lastInterrupt else { throw MachineError("attach devices", "too many: \(transports.count)") }
            for (queue, event) in transport.notifications.enumerated() {
                try virtualMachine.addIOEvent(event, address: address + MMIOTransport.queueNotifyOffset, value: UInt32(queue))
            }
            try virtualMachine.addIRQEvent(transport.interrupt.event, gsi: interrupt)
            places.append((address, interrupt))
        }
        return places
    }
}
