import Linux

/// Where a machine's files are.
struct MachinePlace {
    /// Gets the console's log.
    let directory: Descriptor
    /// Holds nothing but the sockets that lead into the guest and out of it: it becomes the VMM's root.
    let sockets: Descriptor

    /// A path that leads to a socket and fits its address, as long as ``sockets`` is open.
    func socketPath(_ name: String) -> String { "/proc/self/fd/\(sockets.raw)/\(name)" }

    /// Makes room for the next machine.
    func removeSockets() {
        for name in (try? sockets.entryNames()) ?? [] { try? sockets.remove(name) }
    }
}
