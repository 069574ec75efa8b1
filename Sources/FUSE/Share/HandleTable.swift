import Linux
import Synchronization

/// A file or directory the guest has open.
final class OpenFile: Sendable {
    let inode: Inode
    let descriptor: Descriptor
    /// Opened for writing.
    let isWritable: Bool
    private let isAppending = Atomic(false)

    init(_ inode: Inode, _ descriptor: Descriptor, isWritable: Bool) {
        self.inode = inode
        self.descriptor = descriptor
        self.isWritable = isWritable
    }

    /// Whether a write goes to the file's end, wherever it is told to go.
    ///
    /// By the open file's flag and not RWF_APPEND for a write: overlayfs (seen in 6.1) drops that one and
    /// writes at the given position.
    func setAppending(_ appending: Bool) throws(SystemError) {
        guard isAppending.load(ordering: .relaxed) != appending else { return }
        try descriptor.setAppending(appending)
        isAppending.store(appending, ordering: .relaxed)
    }
}

/// The open files of one share. Numbers are used again; a stale one names another file of the same share,
/// which the guest could have opened as well.
struct HandleTable: Sendable {
    private var files: [OpenFile?] = []
    private var free: [Int] = []
    private let limit: Int
    private let budget: DescriptorBudget
    /// Opens refused because of the limit.
    private(set) var refusals: UInt64 = 0

    init(limit: Int, budget: DescriptorBudget) {
        self.limit = limit
        self.budget = budget
    }

    var count: Int { files.count - free.count }

    subscript(handle: UInt64) -> OpenFile? {
        guard let index = Int(exactly: handle), files.indices.contains(index) else { return nil }
        return files[index]
    }

    /// Whether another file may be opened; ask before opening it.
    mutating func checkRoom() throws(SystemError) {
        guard count < limit else {
            refusals &+= 1
            throw SystemError("too many open files", .tooManyOpenFiles)
        }
    }

    mutating func insert(_ file: OpenFile) throws(SystemError) -> UInt64 {
        try checkRoom()
        guard budget.take() else {
            refusals &+= 1
            throw SystemError("too many open files", .tooManyOpenFilesInSystem)
        }
        if let index = free.popLast() {
            files[index] = file
            return UInt64(index)
        }
        files.append(file)
        return UInt64(files.count - 1)
    }

    /// With their handles.
    var all: [(handle: UInt64, file: OpenFile)] { files.enumerated().compactMap { index, file in file.map { (UInt64(index), $0) } } }

    /// Enters a file under the number it had in another life.
    ///
    /// - Returns: false when that is taken, or none this table gives.
    mutating func adopt(_ handle: UInt64, _ file: OpenFile) throws(SystemError) -> Bool {
        guard let index = Int(exactly: handle), index < limit, self[handle] == nil else { return false }
        guard budget.take() else { throw SystemError("too many open files", .tooManyOpenFilesInSystem) }
        while files.count <= index {
            free.append(files.count)
            files.append(nil)
        }
        // In order of handles, as a snapshot has them, it is the last.
        if free.last == index { free.removeLast() } else { free.removeAll { $0 == index } }
        files[index] = file
        return true
    }

    mutating func remove(_ handle: UInt64) -> OpenFile? {
        guard let file = self[handle] else { return nil }
        let index = Int(handle)
        files[index] = nil
        free.append(index)
        budget.give(1)
        return file
    }

    mutating func removeAll() -> [OpenFile] {
        let gone = files.compactMap { $0 }
        files = []
        free = []
        budget.give(gone.count)
        return gone
    }

    /// Everything, when the share goes.
    func giveBack() { budget.give(count) }
}
