import Glibc
import Linux

/// Cgroups made ahead of the containers that get them: making one with all its controllers costs as much as mounting all a
/// container's file systems, giving it another name next to nothing (kernel-config/patches: cgroup v2 renames).
final class SpareCgroups {
    /// No path of a container's has such a name: ids begin with no dot.
    private static let name = ".spare"
    /// Of their own, and below one that names a slice or an engine.
    private static let paths = [["\(name)-1"], ["\(name)-2", name]]

    private struct Spare {
        let path: [String]
        let cgroup: Cgroup
        /// Of the last part of ``path``.
        let parent: Descriptor
        let filter: Descriptor
        let memoryEvents: Descriptor?
    }

    private let root: Descriptor
    private var spares: [Spare] = []

    init(in root: Descriptor) {
        self.root = root
    }

    deinit {
        for spare in spares { try? spare.cgroup.remove() }
    }

    /// - Parameter make: makes one of the path given.
    func make(_ filter: Descriptor, _ make: ([String]) throws(SystemError) -> Cgroup) {
        guard spares.isEmpty else { return }
        for path in Self.paths {
            guard let cgroup = try? make(path), let parent = cgroup.parent else { return }
            do throws(SystemError) {
                try cgroup.apply(filter)
                spares.append(Spare(path: path, cgroup: cgroup, parent: parent, filter: filter, memoryEvents: try? cgroup.openMemoryEvents()))
            } catch {
                try? cgroup.remove()
            }
        }
    }

    /// Gives a spare of as many parts this path, if there is one and nothing has the path's first name.
    func take(_ path: [String]) -> Cgroup? {
        guard let index = spares.firstIndex(where: { $0.path.count == path.count }), let last = path.last else { return nil }
        let spare = spares[index]
        do throws(SystemError) {
            // Fails where the kernel does not rename, too.
            try root.rename(spare.path[0], to: path[0], replacing: true)
        } catch {
            return nil
        }
        spares.remove(at: index)
        if path.count > 1 {
            // Nobody else is in a directory that has just got its name.
            do throws(SystemError) { try spare.parent.rename(spare.path[1], to: last, replacing: true) } catch { return nil }
        }
        let parents = path.count == 1 ? [(directory: root, name: last)] : [(directory: root, name: path[0]), (directory: spare.parent, name: last)]
        return Cgroup(spare.cgroup.directory, path: path, parents: parents, filter: spare.filter, memoryEvents: spare.memoryEvents)
    }
}
