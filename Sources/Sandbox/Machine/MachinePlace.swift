import Glibc
import Linux

/// Where a machine's files are.
final class MachinePlace {
    static let socketsName = "sockets"

    /// Gets the console's log.
    let directory: Descriptor
    /// The subdirectory that holds nothing but the sockets that lead into the guest and out of it: it becomes the VMM's root.
    private(set) var sockets: Descriptor

    init(_ directory: Descriptor) throws(SystemError) {
        self.directory = directory
        sockets = try Self.openSockets(directory)
    }

    private static func openSockets(_ directory: Descriptor) throws(SystemError) -> Descriptor {
        try Descriptor.open(socketsName, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: directory)
    }

    /// Looks again: another process may have put a machine's sockets there.
    func refresh() throws(SystemError) {
        sockets = try Self.openSockets(directory)
    }

    /// A path that leads to a socket and fits its address, as long as ``sockets`` is open.
    func socketPath(_ name: String) -> String { "/proc/self/fd/\(sockets.raw)/\(name)" }

    /// Removes a directory that holds files, and sockets in the subdirectory.
    static func remove(_ name: String, _ directory: Descriptor, from parent: Descriptor) {
        if let sockets = try? openSockets(directory) {
            for entry in (try? sockets.entryNames()) ?? [] { try? sockets.remove(entry) }
            try? directory.remove(socketsName, isDirectory: true)
        }
        for entry in (try? directory.entryNames()) ?? [] { try? directory.remove(entry) }
        try? parent.remove(name, isDirectory: true)
    }

    /// Makes room for the next machine.
    func removeSockets() {
        for name in (try? sockets.entryNames()) ?? [] { try? sockets.remove(name) }
    }
}
