import FUSE
import Linux
import Machine
import Virtio

/// The devices a machine gets, in bus order, and what they count.
final class Devices: Sendable {
    let shares: ShareTable
    let log: ConsoleLog?
    private let console: ConsoleDevice?
    private let entropy = EntropyDevice()
    private let vsock: VsockDevice?
    private let fileSystem: FileSystemDevice

    /// What the guest's kernel and agent may write to the host's disk.
    private static let consoleBudget = 1 << 20
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
            VsockDevice(guestCID: Self.guestCID, listener: $0, path: options.vsockPath, restored: options.restore != nil)
        }
        for item in options.shares { try share(item.name, item.root, item.mode) }
    }

    func share(_ name: String, _ root: Descriptor, _ mode: ShareMode) throws {
        try shares.add(name, root: root, readOnly: mode.readOnly, cache: mode.cache, isMapped: mode.isMapped)
    }

    /// - Parameter image: where in guest memory the root file system is mapped.
    func list(image: (address: UInt64, count: UInt64)?) -> [any VirtioDevice] {
        let pmem = image.map { PmemDevice(address: $0.address, count: $0.count) }
        let all: [(any VirtioDevice)?] = [pmem, console, vsock, fileSystem, entropy]
        return all.compactMap { $0 }
    }

    /// `name=value` words.
    var metrics: String {
        var words = [("entropy.bytes", entropy.metrics.bytes.value), ("entropy.pauses", entropy.metrics.pauses.value)]
        words += [("fs.requests", fileSystem.metrics.requests.value), ("fs.slow", fileSystem.metrics.slowRequests.value)]
        if let console { words += [("console.bytes", console.metrics.bytes.value)] }
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
