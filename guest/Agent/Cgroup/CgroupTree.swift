import Glibc
import Linux
import OCI

/// The cgroup v2 hierarchy the agent's containers live in.
final class CgroupTree {
    let root: Descriptor
    /// Where it is mounted.
    let path: String
    /// `+cpu +memory …`: what a cgroup passes on to those below.
    private let controllers: String
    /// Loaded device filters by their code: verifying one is dear where ring 0 is interpreted.
    private var filters: [(code: [UInt64], program: Descriptor)] = []
    private static let keptFilters = 8
    private let spares: SpareCgroups
    /// A list of every process there can be, and more.
    private static let readLimit = 8 << 20

    init(_ path: String) throws(SystemError) {
        self.path = path
        root = try Descriptor.open(path, O_RDONLY | O_DIRECTORY)
        spares = SpareCgroups(in: root)
        controllers = Self.enabling(try Self.read("cgroup.controllers", in: root))
    }

    /// What would otherwise slow the first container down; a snapshot of an idle agent has it done.
    func prepare() {
        enableControllers()
        _ = try? filter(DeviceFilter.program([]))
    }

    /// Makes cgroups that the next containers get, with the device filter of `code` in force.
    func makeSpares(_ code: [UInt64]) {
        guard let filter = try? filter(code) else { return }
        spares.make(filter) { (path) throws(SystemError) in try makeCgroup(path) }
    }

    /// Makes all controllers work in the cgroups below the root. Each by itself: one that cannot be had takes no other with it.
    private func enableControllers() {
        do {
            try Self.write(controllers, to: "cgroup.subtree_control", in: root)
        } catch {
            for controller in controllers.split(separator: " ") {
                try? Self.write(String(controller), to: "cgroup.subtree_control", in: root)
            }
        }
    }

    /// Makes the cgroup of a container, and those above it.
    ///
    /// - Throws: `EEXIST` if there are processes in it.
    func makeCgroup(_ path: [String]) throws(SystemError) -> Cgroup {
        if let spare = spares.take(path) { return spare }
        var parents: [(directory: Descriptor, name: String)] = []
        var directory = root
        for (index, name) in path.enumerated() {
            let isNew = try Self.makeDirectory(name, in: directory)
            parents.append((directory, name))
            directory = try Descriptor.open(name, O_RDONLY | O_DIRECTORY, at: directory)
            if index < path.count - 1 {
                if isNew { try? Self.write(controllers, to: "cgroup.subtree_control", in: directory) }
            } else if !isNew, try !Self.read("cgroup.procs", in: directory).isEmpty {
                throw SystemError("cgroup /\(path.joined(separator: "/")) is in use", .fileExists)
            }
        }
        return Cgroup(directory, path: path, parents: parents)
    }

    func filter(_ code: [UInt64]) throws(SystemError) -> Descriptor {
        if let known = filters.first(where: { $0.code == code }) { return known.program }
        let program = try CgroupDeviceFilter.load(code)
        if filters.count == Self.keptFilters { filters.removeFirst() }
        filters.append((code, program))
        return program
    }

    /// Where `cgroupsPath` leads, or the container's id without one. systemd's `slice:prefix:name` names a scope.
    static func path(_ cgroupsPath: String, id: String) -> [String] {
        let parts = cgroupsPath.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        if parts.count == 3, !cgroupsPath.contains("/") {
            let slice = parts[0].isEmpty ? "system.slice" : parts[0]
            return [slice, parts[1].isEmpty ? "\(parts[2]).scope" : "\(parts[1])-\(parts[2]).scope"]
        }
        let path = cgroupsPath.split(separator: "/").map(String.init).filter { $0 != "." && $0 != ".." }
        return path.isEmpty ? [id] : path
    }

    private static func makeDirectory(_ name: String, in directory: Descriptor) throws(SystemError) -> Bool {
        do {
            try directory.makeDirectory(name, mode: 0o755)
            return true
        } catch where error.errno == .fileExists {
            return false
        }
    }

    private static func enabling(_ names: String) -> String {
        names.split(whereSeparator: { $0 == " " || $0 == "\n" }).map { "+\($0)" }.joined(separator: " ")
    }

    static func write(_ value: String, to file: String, in directory: Descriptor) throws(SystemError) {
        let file = try Descriptor.open(file, O_WRONLY, at: directory)
        _ = try file.write(Array(value.utf8))
    }

    static func read(_ file: String, in directory: Descriptor) throws(SystemError) -> String {
        let file = try Descriptor.open(file, O_RDONLY, at: directory)
        // In small parts: fresh memory is dear where ring 0 is interpreted.
        var all: [UInt8] = []
        while all.count < readLimit {
            let part = try file.read(upTo: 2048)
            if part.isEmpty { break }
            all += part
        }
        return String(decoding: all, as: UTF8.self)
    }
}
