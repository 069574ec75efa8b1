/// Where `linux.cgroupsPath` leads, the way runc reads it.
enum CgroupName: Sendable, Equatable {
    /// From the root of each hierarchy.
    case absolute([String])
    /// From the cgroup this process is in.
    case relative([String])
    /// systemd's `slice:prefix:name`, from the root, or from the user's own manager.
    case scope([String])

    /// - Parameter path: empty: the id, relative.
    init(_ path: String, id: String) {
        let parts = path.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        if parts.count == 3, !path.contains("/") {
            let name = parts[2].hasSuffix(".slice") ? parts[2] : parts[1].isEmpty ? "\(parts[2]).scope" : "\(parts[1])-\(parts[2]).scope"
            self = .scope(Self.slices(parts[0].isEmpty ? "system.slice" : parts[0]) + [name])
            return
        }
        let names = path.split(separator: "/").map(String.init).filter { $0 != "." && $0 != ".." }
        if names.isEmpty { self = .relative([id]) } else { self = path.hasPrefix("/") ? .absolute(names) : .relative(names) }
    }

    /// The cgroup in `hierarchy`, as names from its mount point.
    func path(in hierarchy: CgroupHierarchy) -> [String] {
        let own = hierarchy.own.split(separator: "/").map(String.init)
        switch self {
        case .absolute(let names): return names
        // The cgroup of a process of version 2 can have no others below it that have controllers.
        case .relative(let names): return own.dropLast(hierarchy.isUnified ? 1 : 0) + names
        case .scope(let names):
            guard let manager = own.firstIndex(where: { $0.hasPrefix("user@") && $0.hasSuffix(".service") }) else { return names }
            return own.prefix(manager + 1) + names
        }
    }

    /// `a-b.slice` is below `a.slice` (systemd.slice(5)).
    private static func slices(_ slice: String) -> [String] {
        guard slice.hasSuffix(".slice"), slice != "-.slice" else { return [] }
        let words = slice.dropLast(6).split(separator: "-")
        return words.indices.map { words[...$0].joined(separator: "-") + ".slice" }
    }
}
