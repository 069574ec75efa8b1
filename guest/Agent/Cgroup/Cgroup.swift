import CLinux
import Glibc
import Linux
import OCI

/// The cgroup of one container.
final class Cgroup {
    /// For `CLONE_INTO_CGROUP`.
    let directory: Descriptor
    let path: [String]
    private let parents: [(directory: Descriptor, name: String)]
    private var filter: Descriptor?
    /// `memory.events`, once it was asked for.
    private var memoryEvents: Descriptor?

    /// - Parameters:
    ///   - filter: the device filter that is in force.
    ///   - memoryEvents: open already; another name of the cgroup's changes nothing about it.
    init(
        _ directory: Descriptor, path: [String], parents: [(directory: Descriptor, name: String)], filter: Descriptor? = nil,
        memoryEvents: Descriptor? = nil
    ) {
        self.directory = directory
        self.path = path
        self.parents = parents
        self.filter = filter
        self.memoryEvents = memoryEvents
    }

    /// What it is in; nil: it is the tree's root.
    var parent: Descriptor? { parents.last?.directory }

    /// - Throws: ``InvalidField`` for a limit the kernel refuses.
    func apply(_ limits: CgroupLimits) throws(InvalidField) {
        for write in limits.writes {
            do {
                try self.write(write.value, to: write.file)
            } catch {
                throw InvalidField(write.field, "\(write.file) = \(write.value): \(error.errno)")
            }
        }
    }

    func apply(_ filter: Descriptor) throws(SystemError) {
        guard filter !== self.filter else { return }
        try CgroupDeviceFilter.attach(filter, to: directory, replacing: self.filter)
        self.filter = filter
    }

    func removeFilter() throws(SystemError) {
        guard let filter else { return }
        try CgroupDeviceFilter.detach(filter, from: directory)
        self.filter = nil
    }

    func read(_ file: String) throws(SystemError) -> String { try CgroupTree.read(file, in: directory) }
    func write(_ value: String, to file: String) throws(SystemError) { try CgroupTree.write(value, to: file, in: directory) }

    /// A number of a file of `key value` lines.
    func value(_ key: String, in file: String) -> UInt64? {
        guard let text = try? read(file) else { return nil }
        return Self.value(key, of: text)
    }

    private static func value(_ key: String, of text: String) -> UInt64? {
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: " ")
            if parts.count == 2, parts[0] == key { return UInt64(parts[1]) }
        }
        return nil
    }

    /// Out-of-memory kills so far, of the cgroups below too; without the memory controller none.
    var memoryKills: UInt64 {
        // A handful of short lines, which one read takes whole.
        guard let bytes = try? openMemoryEvents().read(upTo: 1024, at: 0) else { return 0 }
        return Self.value("oom_kill", of: String(decoding: bytes, as: UTF8.self)) ?? 0
    }

    /// `memory.events`, which stays open: every container's end is asked about its kills.
    func openMemoryEvents() throws(SystemError) -> Descriptor {
        if let memoryEvents { return memoryEvents }
        let file = try Descriptor.open("memory.events", O_RDONLY, at: directory)
        memoryEvents = file
        return file
    }

    /// Kills every process in it and below.
    func kill() throws(SystemError) { try write("1", to: "cgroup.kill") }

    /// Processes in it and below, in no order.
    func processes() -> [Int32] { Self.processes(in: directory, depth: 0) }

    private static func processes(in directory: Descriptor, depth: Int) -> [Int32] {
        let text = (try? CgroupTree.read("cgroup.procs", in: directory)) ?? ""
        var found = text.split(separator: "\n").compactMap { Int32($0) }
        guard depth < 16 else { return found }
        for child in children(of: directory) { found += processes(in: child, depth: depth + 1) }
        return found
    }

    private static func children(of directory: Descriptor) -> [Descriptor] {
        // A directory's link count is two and one for each below.
        guard let status = try? directory.status(), status.st_nlink > 2 else { return [] }
        let names = (try? directory.entryNames()) ?? []
        return names.compactMap { try? Descriptor.open($0, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: directory) }
    }

    /// Gives a container with ids of its own the right to make cgroups below (cgroups(7), delegation).
    func delegate(toUser uid: UInt32, group gid: UInt32) throws(SystemError) {
        try directory.changeOwner(uid: uid, gid: gid)
        for file in ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            try Descriptor.open(file, O_PATH, at: directory).changeOwner(uid: uid, gid: gid)
        }
    }

    /// Removes it, those below it, and those above that are empty now.
    ///
    /// - Throws: `EBUSY` as long as a process is ending in it.
    func remove() throws(SystemError) {
        guard let last = parents.last else { return }
        Self.removeChildren(of: directory, depth: 0)
        do {
            try last.directory.remove(last.name, isDirectory: true)
        } catch where error.errno == .noSuchFileOrDirectory {
            return
        }
        for parent in parents.dropLast().reversed() {
            do { try parent.directory.remove(parent.name, isDirectory: true) } catch { return }
        }
    }

    private static func removeChildren(of directory: Descriptor, depth: Int) {
        guard depth < 16, let status = try? directory.status(), status.st_nlink > 2 else { return }
        for name in (try? directory.entryNames()) ?? [] {
            guard let child = try? Descriptor.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: directory) else { continue }
            removeChildren(of: child, depth: depth + 1)
            try? directory.remove(name, isDirectory: true)
        }
    }
}
