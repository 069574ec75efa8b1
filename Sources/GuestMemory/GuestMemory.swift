import Linux
import Synchronization

/// The guest's physical memory, as the host sees it: the only place that turns a guest address into
/// host memory. Address and length are checked together, once, here.
@safe
public final class GuestMemory: Sendable {
    /// A contiguous piece of guest-physical address space backed by a mapping.
    public struct Region: Sendable {
        /// First guest-physical address.
        public let guestAddress: UInt64
        public let mapping: Mapping
        /// Where in the memory file the region starts, bytes.
        public let fileOffset: Int

        public var count: UInt64 { UInt64(mapping.count) }

        public init(guestAddress: UInt64, mapping: Mapping, fileOffset: Int = 0) {
            self.guestAddress = guestAddress
            self.mapping = mapping
            self.fileOffset = fileOffset
        }
    }

    /// Sorted by address, not overlapping.
    public let regions: [Region]

    /// What the regions are shared mappings of; nil if each has pages of its own.
    let file: Descriptor?

    /// Parts of the memory file that ``show(_:from:count:at:)`` covered: what is there, the memory file does not know.
    let covered = Mutex<[Range<Int>]>([])

    /// What ``watch(_:by:)`` began.
    let watch = Mutex<Watch?>(nil)

    /// Where files are shown beside memory (``MappingWindow``), by their first guest-physical address.
    private let windows = Mutex<[(guestAddress: UInt64, mapping: Mapping)]>([])

    /// - Parameter file: what the regions are shared mappings of.
    public init(regions: [Region], file: Descriptor? = nil) {
        self.file = file
        self.regions = regions.sorted { $0.guestAddress < $1.guestAddress }
    }

    /// Fresh zeroed memory at the given guest addresses, all in one memory file.
    public static func allocate(_ ranges: [(guestAddress: UInt64, count: Int)]) throws(SystemError) -> (memory: GuestMemory, file: Descriptor) {
        let file = try makeMemoryFile("guest-memory", count: ranges.reduce(0) { $0 + $1.count })
        var regions: [Region] = []
        var fileOffset = 0
        for range in ranges {
            let mapping = try Mapping(file, offset: fileOffset, count: range.count, access: [.read, .write], sharing: .shared)
            regions.append(Region(guestAddress: range.guestAddress, mapping: mapping, fileOffset: fileOffset))
            fileOffset += range.count
        }
        return (GuestMemory(regions: regions, file: file), file)
    }

    /// The `count` bytes at `address`; refused unless they all lie in one region.
    public func slice(_ address: UInt64, _ count: UInt64) throws(GuestMemoryError) -> GuestSlice {
        for region in regions where address >= region.guestAddress {
            let offset = address - region.guestAddress
            guard offset <= region.count, count <= region.count - offset else { continue }
            return unsafe GuestSlice(base: region.mapping.base + Int(offset), count: Int(count))
        }
        throw .outOfRange(address: address, count: count)
    }

    /// As ``slice(_:_:)``, for what a device carries rather than reads: it may also lie in a window. A driver hands such pages on
    /// when a program writes out of a mapped file without the page cache (O_DIRECT).
    public func buffer(_ address: UInt64, _ count: UInt64) throws(GuestMemoryError) -> GuestSlice {
        do throws(GuestMemoryError) { return try slice(address, count) } catch {
            let windows = windows.withLock { $0 }
            for window in windows where address >= window.guestAddress {
                let offset = address - window.guestAddress
                let size = UInt64(window.mapping.count)
                guard offset <= size, count <= size - offset else { continue }
                return unsafe GuestSlice(base: window.mapping.base + Int(offset), count: Int(count), isMemory: false)
            }
            throw error
        }
    }

    /// Lets buffers lie in a window at `address`.
    public func addWindow(_ mapping: Mapping, at address: UInt64) {
        windows.withLock { $0.append((address, mapping)) }
    }

    /// Shows `count` bytes of a file at `address`. The file never sees what the guest writes there, and the page cache's
    /// pages serve every machine that only reads them.
    ///
    /// - Throws: `EINVAL` unless all three are multiples of 4,096, and in one region.
    public func show(_ file: Descriptor, from offset: Int64, count: Int, at address: UInt64) throws(SystemError) {
        for region in regions where address >= region.guestAddress && address - region.guestAddress < region.count {
            let position = Int(address - region.guestAddress)
            try region.mapping.show(file, from: offset, count: count, at: position, access: [.read, .write], sharing: .private)
            let start = region.fileOffset + position
            return covered.withLock { $0.append(start..<start + count) }
        }
        throw SystemError("map file into guest memory", .invalidArgument)
    }
}
