import FUSE
import Linux
import Machine
import Synchronization
import Virtio

/// The devices a machine gets, in bus order, and what they count.
final class Devices: Sendable {
    let shares: ShareTable
    let log: ConsoleLog?
    private let console: ConsoleDevice?
    private let entropy = EntropyDevice()
    private let vsock: VsockDevice?
    private let fileSystem: FileSystemDevice
    /// Not where KVM interprets the guest: there adding 128 MiB takes over a second, each time, and a template of the size once.
    private let memory: MemoryDevice?
    /// Slots for network interfaces, empty at first.
    private let networks: [NetworkDevice]
    /// Where the first of them is on the bus.
    private let firstNetwork = Mutex(0)

    /// An empty one costs a boot a word of the kernel's command line.
    private static let networkSlots = 4
    /// Each buffer that a driver fills the queue with takes it 400 instructions; the largest frame takes 43 of them.
    private static let networkQueueOnSoftwareKVM: UInt16 = 128

    /// What the guest's kernel and agent may write to the host's disk.
    private static let consoleBudget = 1 << 20
    /// How long a guest may take to plug in its memory.
    private static let memoryPatience: UInt64 = 10_000_000_000
    private static let guestCID: UInt32 = 3
    private static let tag = "microvm"

    /// Each page of the guest's cache takes it a millisecond there, and a program needs few of those around the one it touched.
    private static let readaheadOnSoftwareKVM: UInt32 = 16 << 10

    /// Of it a file takes at least 2 MiB at a time. Larger costs the guest time to boot: half a second for these 64 MiB.
    private static let windowSize = 64 << 20

    init(_ options: Options, softwareKVM: Bool) throws {
        // Measured there: starting `true` takes 0.6 million instructions instead of 1.5.
        shares = ShareTable(window: softwareKVM ? try MappingWindow(count: Self.windowSize) : nil)
        let readahead = softwareKVM ? Self.readaheadOnSoftwareKVM : .max
        fileSystem = FileSystemDevice(tag: Self.tag, server: try FileServer(shares: shares, maximumReadahead: readahead))
        log = try options.console.map { try ConsoleLog(output: $0, byteBudget: Self.consoleBudget) }
        console = log.map { ConsoleDevice(log: $0) }
        vsock = options.vsock.map {
            // Making a buffer ready costs an interpreted guest 1,500 instructions.
            VsockDevice(
                guestCID: Self.guestCID, listener: $0, path: options.vsockPath, receiveBuffers: softwareKVM ? 64 : 256, restored: options.restore != nil)
        }
        memory = try options.image.flatMap { image in
            guard !softwareKVM else { return nil }
            let address = MemoryMap.pluggableAddress(ramBytes: options.memory, imageBytes: Int(try image.status().st_size))
            return try MemoryDevice(address: address, regionSize: MemoryMap.pluggableSize, requested: UInt64(options.extraMemory))
        }
        guard memory != nil || options.extraMemory == 0 else { throw SystemError("--extra-memory: not without an image, or where KVM interprets the guest", .notSupported) }
        let queueSize = softwareKVM ? Self.networkQueueOnSoftwareKVM : NetworkDevice.largestQueue
        networks = try (0..<Self.networkSlots).map { _ in try NetworkDevice(queueSize: queueSize) }
        for item in options.shares { try share(item.name, item.root, item.mode) }
    }

    func share(_ name: String, _ root: Descriptor, _ mode: ShareMode) throws {
        try shares.add(
            name, root: root, readOnly: mode.readOnly, exceptSubmounts: mode.exceptSubmounts, cache: mode.cache, isMapped: mode.isMapped)
    }

    /// Connects the next network device that is not, and plugs it in.
    ///
    /// - Returns: where it is on the bus.
    func connect(_ tap: Descriptor, _ address: MACAddress, _ mtu: UInt16) throws -> Int {
        let link = try NetworkLink(frames: tap, address: address, mtu: mtu) { features throws(SystemError) in
            try Tap.accept(Tap.Offloads(features), from: tap)
        }
        let index = [true, false].lazy.compactMap { known in self.networks.firstIndex { $0.canTake(link, known: known) } }.first
        guard let index else {
            throw SystemError("a machine has \(Self.networkSlots) network interfaces at most", .noSpace)
        }
        try networks[index].connect(link)
        return firstNetwork.withLock { $0 } + index
    }

    /// Whether the guest has all its memory; waits for that a while.
    func waitForMemory() -> Bool { memory?.waitUntilComplete(atMost: Self.memoryPatience) ?? true }

    /// - Parameter image: where in guest memory the root file system is mapped.
    func list(image: (address: UInt64, count: UInt64)?) -> [any VirtioDevice] {
        let pmem = image.map { PmemDevice(address: $0.address, count: $0.count) }
        let all: [(any VirtioDevice)?] = [pmem, console, vsock, fileSystem, entropy, memory]
        let others = all.compactMap { $0 }
        firstNetwork.withLock { $0 = others.count }
        return others + networks
    }

    /// `name=value` words.
    var metrics: String {
        var words = [("entropy.bytes", entropy.metrics.bytes.value), ("entropy.pauses", entropy.metrics.pauses.value)]
        words += [("fs.requests", fileSystem.metrics.requests.value), ("fs.slow", fileSystem.metrics.slowRequests.value)]
        if let console { words += [("console.bytes", console.metrics.bytes.value)] }
        for (index, network) in networks.enumerated() where network.isPlugged {
            let metrics = network.metrics
            words += [
                ("net\(index).frames-from-guest", metrics.framesFromGuest.value), ("net\(index).bytes-from-guest", metrics.bytesFromGuest.value),
                ("net\(index).frames-to-guest", metrics.framesToGuest.value), ("net\(index).bytes-to-guest", metrics.bytesToGuest.value),
                ("net\(index).dropped", metrics.dropped.value), ("net\(index).spoofed", metrics.spoofed.value),
                ("net\(index).truncated", metrics.truncated.value), ("net\(index).stalls", metrics.stalls.value),
                ("net\(index).blocked", metrics.blocked.value),
            ]
        }
        if let memory { words += [("memory.plugged", memory.plugged), ("memory.refused", memory.metrics.refused.value)] }
        if let metrics = vsock?.metrics {
            words += [
                ("vsock.packets-from-guest", metrics.packetsFromGuest.value), ("vsock.bytes-from-guest", metrics.bytesFromGuest.value),
                ("vsock.packets-to-guest", metrics.packetsToGuest.value), ("vsock.bytes-to-guest", metrics.bytesToGuest.value),
                ("vsock.connections", metrics.connections.value), ("vsock.refused", metrics.refused.value),
                ("vsock.violations", metrics.violations.value), ("vsock.stalls", metrics.stalls.value),
            ]
        }
        return words.map { "\($0.0)=\($0.1)" }.joined(separator: " ")
    }
}

extension Tap.Offloads {
    /// What a driver with these features finishes itself.
    fileprivate init(_ features: UInt64) {
        let all: [(feature: UInt64, offload: Tap.Offloads)] = [
            (NetworkFeature.guestChecksum, .checksum), (NetworkFeature.guestSegments4, .segments4), (NetworkFeature.guestSegments6, .segments6),
            (NetworkFeature.guestCongestion, .congestion),
        ]
        self = all.reduce(into: []) { offloads, pair in if features & pair.feature != 0 { offloads.insert(pair.offload) } }
        // The kernel refuses segments without checksums.
        if !contains(.checksum) { self = [] }
    }
}
