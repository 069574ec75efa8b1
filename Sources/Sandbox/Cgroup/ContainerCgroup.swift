import Glibc
import Linux
import OCI

/// A container's cgroup on this host, in every hierarchy.
///
/// It has the spec's values exactly, and the container's process (``StandIn``) is in it, for engines and tools look there. The
/// machine is in it too, unless a limit there would count what a machine needs beside its container: its guest's
/// kernel, its threads, `/dev/kvm`. It is then apart: for memory in a cgroup beside it, which the guest's own memory and
/// ``overhead`` fit into. Within the machine the guest's kernel applies the spec's limits to the container itself.
final class ContainerCgroup {
    /// What the VMM and the monitor may use beside the guest's memory, bytes.
    private static let overhead = 128 << 20
    /// A limit from which on the machine's own dozen of threads do not matter.
    private static let manyTasks: Int64 = 512
    private static let suffix = ".microvm"

    private struct Place {
        let hierarchy: CgroupHierarchy
        /// Absolute paths.
        let path: String
        /// Where the machine is; nil: it stays where the caller is.
        let machine: String?

        var isApart: Bool { machine != path }
    }

    private let places: [Place]
    private let machineMemory: Int
    /// What fails without rights is then not done: the guest applies every limit.
    private let isPrivileged: Bool

    /// Directories this has, for ``remove(_:)``.
    var paths: [String] { places.flatMap { $0.isApart ? [$0.path] + ($0.machine.map { [$0] } ?? []) : [$0.path] } }

    /// - Parameters:
    ///   - memory: the guest's, bytes.
    /// - Returns: nil for a container that asks for no cgroup.
    init?(_ spec: Spec, id: String, memory: Int, hierarchies: [CgroupHierarchy] = CgroupHierarchy.all(), isPrivileged: Bool = isRealRoot()) {
        let resources = spec.linux?.resources ?? LinuxResources()
        let cgroupsPath = spec.linux?.cgroupsPath ?? ""
        guard !cgroupsPath.isEmpty || resources.hasLimits else { return nil }
        let name = CgroupName(cgroupsPath, id: id)
        machineMemory = memory
        self.isPrivileged = isPrivileged
        places = hierarchies.map { hierarchy in
            let path = hierarchy.mountPoint + "/" + name.path(in: hierarchy).joined(separator: "/")
            return Place(hierarchy: hierarchy, path: path, machine: Self.machine(hierarchy, path, resources))
        }
    }

    private static func machine(_ hierarchy: CgroupHierarchy, _ path: String, _ resources: LinuxResources) -> String? {
        let limitsMemory = (resources.memory?.limit ?? 0) > 0 || (resources.memory?.swap ?? 0) > 0
        let limitsTasks = resources.pids?.limit.map { $0 > 0 && $0 < manyTasks } ?? false
        if hierarchy.isUnified {
            let counts = resources.unified.keys.contains { $0.hasPrefix("memory.") || $0.hasPrefix("pids.") }
            return limitsMemory || limitsTasks || counts ? path + suffix : path
        }
        if hierarchy.controllers.contains("memory"), limitsMemory { return path + suffix }
        if hierarchy.controllers.contains("devices") { return nil }
        if hierarchy.controllers.contains("pids"), limitsTasks { return nil }
        return path
    }

    // MARK: Life

    /// Looks at cgroups that are there already, before anything joins them.
    ///
    /// - Parameter warn: told of processes of others, which the container's limits will count.
    /// - Throws: for one that is frozen: nothing in it would run.
    func check(warn: (String) -> Void) throws(SandboxError) {
        for place in places {
            if read("cgroup.freeze", of: place.path) == "1" || read("freezer.state", of: place.path) == "FROZEN" {
                throw SandboxError(.wrongState, "linux.cgroupsPath: container's cgroup unexpectedly frozen: \(place.path)")
            }
            let others = read("cgroup.procs", of: place.path)?.split(separator: " ").count ?? 0
            if others > 0 { warn("linux.cgroupsPath: container's cgroup is not empty: \(others) process(es) in \(place.path)") }
        }
    }

    /// Makes the cgroups, puts this process in the machine's and `process` in the container's. What this process starts from now on is the machine's.
    func enter(_ process: Int32) throws {
        for place in places {
            try allowed(place) {
                try makeCgroup(place.path, in: place.hierarchy)
                try write("\(process)", to: "cgroup.procs", of: place.path)
                guard let machine = place.machine else { return }
                if place.isApart { try makeCgroup(machine, in: place.hierarchy) }
                try write("\(processID())", to: "cgroup.procs", of: machine)
                if place.hierarchy.isUnified, !Self.mayUseDevices() { stay(out: place) }
            }
        }
    }

    /// podman 4.3 gives a pod's cgroup a filter that refuses every device; filters of cgroups above hold, so no machine can be below it.
    private static func mayUseDevices() -> Bool {
        do throws(SystemError) { _ = try Descriptor.open("/dev/null", O_RDWR) } catch { return error.errno != .notPermitted }
        return true
    }

    private func stay(out place: Place) {
        try? write("\(processID())", to: "cgroup.procs", of: place.hierarchy.mountPoint + place.hierarchy.own)
    }

    /// Puts this process back where it was, so that its cgroup can be removed.
    func leave() {
        for place in places where place.machine != nil { stay(out: place) }
    }

    /// Removes cgroups and what is below them; their processes are killed, or about to end.
    static func remove(_ paths: [String]) {
        // A killed process is in its cgroup until it is gone: 5 s.
        for attempt in 0..<500 {
            let left = paths.filter { !removeTree($0) }
            if left.isEmpty { return }
            if attempt == 100 { for path in left { killAll(path) } }
            usleep(10_000)
        }
    }

    /// The deepest first; false when one is in use.
    private static func removeTree(_ path: String) -> Bool {
        if rmdir(path) == 0 || errno != EBUSY { return true }
        // Most names are files, which rmdir leaves alone.
        for name in (try? Descriptor.open(path, O_RDONLY | O_DIRECTORY).entryNames()) ?? [] { _ = removeTree("\(path)/\(name)") }
        return rmdir(path) == 0 || errno != EBUSY
    }

    private static func killAll(_ path: String) {
        guard let text = try? Descriptor.open("\(path)/cgroup.procs", O_RDONLY).readToEnd() else { return }
        for pid in String(decoding: text, as: UTF8.self).split(separator: "\n").compactMap({ Int32($0) }) { try? sendSignal(SIGKILL, to: pid) }
    }

    // MARK: Limits

    /// Applies the spec's limits. Those of CPU time come with ``Stage/running``: booting is not on the container's account.
    func apply(_ resources: LinuxResources, _ stage: Stage) throws {
        for place in places {
            try allowed(place) {
                let writes = Self.writes(resources, place.hierarchy).filter { stage == .all || ($0.isBandwidth == (stage == .running)) }
                try apply(writes, to: place.path)
                guard place.isApart, let machine = place.machine else { return }
                try apply(writes.filter { $0.isShareOfHost }, to: machine)
                if stage == .booting { try apply([memoryLimit(place.hierarchy)], to: machine) }
            }
        }
    }

    enum Stage {
        case booting
        case running
        case all
    }

    /// Applies changed limits. One of memory, where the machine is counted, is left to the guest: it would end the machine.
    func update(_ resources: LinuxResources) throws {
        var resources = resources
        for place in places where !place.isApart && (place.hierarchy.isUnified || place.hierarchy.controllers.contains("memory")) {
            resources.memory = nil
        }
        resources.devices = []
        try apply(resources, .all)
    }

    private func memoryLimit(_ hierarchy: CgroupHierarchy) -> CgroupLimits.Write {
        CgroupLimits.Write(hierarchy.isUnified ? "memory.max" : "memory.limit_in_bytes", "\(machineMemory + Self.overhead)", "memory.limit")
    }

    private static func writes(_ resources: LinuxResources, _ hierarchy: CgroupHierarchy) -> [CgroupLimits.Write] {
        guard hierarchy.isUnified else {
            let limits = CgroupV1Limits(resources).writes.filter { hierarchy.controllers.contains($0.controller) }.map(\.write)
            return limits + (hierarchy.controllers.contains("devices") ? CgroupV1Limits.devices(resources.devices) : [])
        }
        // A combination that cannot be was refused by the spec's validation.
        let limits = (try? CgroupLimits(resources).writes) ?? []
        let throttles = resources.blockIO?.throttles ?? []
        return limits + throttles.flatMap { throttle in
            throttle.devices.map { CgroupLimits.Write("io.max", "\($0.major):\($0.minor) \(throttle.file.v2)=\($0.rate)", "blockIO.\(throttle.field)") }
        }
    }

    /// Limits that depend on each other's order (memory and swap, quota and period) fit at the second attempt.
    private func apply(_ writes: [CgroupLimits.Write], to path: String) throws {
        var rest = writes
        for attempt in 0..<2 {
            var failed: [CgroupLimits.Write] = []
            for entry in rest {
                do throws(SystemError) { try write(entry.value, to: entry.file, of: path) } catch {
                    // This kernel has no such file, or no such device; the guest has the limit all the same.
                    if [ENOENT, ENODEV, EOPNOTSUPP].contains(error.errno.rawValue) { continue }
                    guard attempt == 0 else {
                        throw SandboxError(.badInput, "\(entry.field): \(entry.file) of this host = \(entry.value): \(error.errno)")
                    }
                    failed.append(entry)
                }
            }
            rest = failed
        }
    }

    // MARK: Files

    private func allowed(_ place: Place, _ body: () throws -> Void) throws {
        do { try body() } catch let error as SystemError {
            // A hierarchy mounted read-only, as in a container, is nobody's to change.
            if !isPrivileged || error.errno == .readOnlyFileSystem { return }
            throw SandboxError(.badInput, "linux.cgroupsPath: \(place.path): \(error)")
        } catch where !isPrivileged {}
    }

    private func makeCgroup(_ path: String, in hierarchy: CgroupHierarchy) throws(SystemError) {
        var made = hierarchy.mountPoint
        for name in path.dropFirst(made.count).split(separator: "/") {
            if hierarchy.isUnified { enableControllers(made) }
            let parent = made
            made += "/\(name)"
            guard mkdir(made, 0o755) == 0 else {
                if errno == EEXIST { continue }
                throw SystemError.current("make cgroup \(made)")
            }
            if hierarchy.controllers.contains("cpuset") { copyCPUSet(from: parent, to: made) }
        }
    }

    /// Each by itself: one that cannot be had takes no other with it.
    private func enableControllers(_ path: String) {
        guard let has = read("cgroup.controllers", of: path), let enabled = read("cgroup.subtree_control", of: path) else { return }
        for name in Set(has.split(separator: " ")).subtracting(enabled.split(separator: " ")) {
            try? write("+\(name)", to: "cgroup.subtree_control", of: path)
        }
    }

    /// A cgroup of version 1 without CPUs takes no processes.
    private func copyCPUSet(from parent: String, to path: String) {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let value = read(file, of: parent), !value.isEmpty { try? write(value, to: file, of: path) }
        }
    }

    private func write(_ value: String, to file: String, of path: String) throws(SystemError) {
        _ = try Descriptor.open("\(path)/\(file)", O_WRONLY).write(Array(value.utf8))
    }

    private func read(_ file: String, of path: String) -> String? {
        guard let bytes = try? Descriptor.open("\(path)/\(file)", O_RDONLY).readToEnd(limit: 1 << 16) else { return nil }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").joined(separator: " ")
    }
}

extension CgroupLimits.Write {
    fileprivate var isBandwidth: Bool { ["cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"].contains(file) }

    /// Holds for the machine as well where it is apart: what it leaves of the host to others.
    fileprivate var isShareOfHost: Bool { ["cpu.", "cpuset.", "io.", "blkio."].contains { file.hasPrefix($0) } }
}

extension LinuxResources {
    /// Whether any of them is a limit of the host's cgroups; a list of devices, which every spec has, is none.
    fileprivate var hasLimits: Bool {
        memory != nil || cpu != nil || pids != nil || blockIO != nil || !hugepageLimits.isEmpty || !unified.isEmpty
    }
}
