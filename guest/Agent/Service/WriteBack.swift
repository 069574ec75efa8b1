import Glibc
import Linux

/// Writes back what file systems hold, at a machine's end.
///
/// sync(2) asks every file system there is, three times over: 21 ms where ring 0 is interpreted. Once every process of containers has
/// ended, the guest holds nothing of the shares' files back: what is written goes to the host at once, and what was written to a mapping
/// goes when the mapping does (`fuse_vma_close`). Then it is enough that the host writes its own back, which it is asked to at the root
/// of the shares for all of them. Others may be held back by a disk besides the guest image, which a container can make of a file (loop devices).
struct WriteBack {
    /// The guest image's, which nothing is written to.
    private static let imageDisk = "pmem0"
    private static let partitionsLimit = 4096

    /// The root of the shares' file system; nil: all are asked.
    private let shares: Descriptor?
    /// The kernel's list of disks.
    private let partitions: Descriptor?

    /// - Parameter sharesDirectory: where the shares are mounted; nil: nowhere.
    init(sharesDirectory: String?) {
        shares = sharesDirectory.flatMap { try? Descriptor.open($0, O_RDONLY | O_DIRECTORY) }
        partitions = try? Descriptor.open("/proc/partitions", O_RDONLY)
    }

    /// Waits as long as the slowest file system takes.
    ///
    /// - Parameter isQuiet: no process of a container is left.
    func run(isQuiet: Bool) {
        guard isQuiet, let shares, hasNoDisks, (try? shares.synchronizeFileSystem()) != nil else { return syncFileSystems() }
    }

    private var hasNoDisks: Bool {
        guard let bytes = try? partitions?.read(upTo: Self.partitionsLimit, at: 0), bytes.count < Self.partitionsLimit else { return false }
        return Self.disks(String(decoding: bytes, as: UTF8.self)).allSatisfy { $0 == Self.imageDisk }
    }

    /// The names in `/proc/partitions`: a heading, an empty line, then lines of four columns.
    static func disks(_ text: String) -> [Substring] {
        text.split(separator: "\n").dropFirst().compactMap { $0.split(separator: " ").last }
    }
}
