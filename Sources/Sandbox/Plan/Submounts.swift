import Glibc
import Linux

/// What is mounted below a directory of this host.
enum Submounts {
    /// Those that can be written to, as paths below `directory`, those further up first.
    static func writable(below directory: String) -> [String] {
        guard let place = try? Descriptor.openPath(directory), let mounts = try? Descriptor.open("/proc/self/mountinfo", O_RDONLY).readToEnd(limit: 4 << 20),
            let resolved = withExtendedLifetime(place, { try? readLink("/proc/self/fd/\(place.raw)") })
        else { return [] }
        return candidates(below: resolved, String(decoding: mounts, as: UTF8.self)).filter { isVisible($0.mount, at: resolved + "/" + $0.path) }.map(\.path)
    }

    /// - Parameter mounts: `/proc/PID/mountinfo` (proc(5)).
    static func candidates(below directory: String, _ mounts: String) -> [(path: String, mount: UInt64)] {
        let prefix = directory == "/" ? "/" : directory + "/"
        var found: [(path: String, mount: UInt64)] = []
        for line in mounts.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count > 8, let mount = UInt64(fields[0]), let dash = fields.firstIndex(of: "-"), dash + 1 < fields.count,
                !ofKernel.contains(fields[dash + 1])
            else { continue }
            let place = unescaped(fields[4])
            guard place.hasPrefix(prefix), place.count > prefix.count, isWritable(fields[5]), fields.last.map(isWritable) == true else { continue }
            found.append((String(place.dropFirst(prefix.count)), mount))
        }
        return found.sorted { $0.path.split(separator: "/").count < $1.path.split(separator: "/").count }
    }

    /// Interfaces of this host's kernel, not files: nobody who asks for a read-only `/` of the host wants to write to them. There are dozens.
    private static let ofKernel: Set<Substring> = [
        "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "fusectl", "hugetlbfs", "mqueue", "nsfs",
        "proc", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tracefs",
    ]

    private static func isWritable(_ options: Substring) -> Bool { options.split(separator: ",").first == "rw" }

    /// Another may have been mounted over it, or over what is above it.
    private static func isVisible(_ mount: UInt64, at path: String) -> Bool { (try? Descriptor.openPath(path).metadata().mount) == mount }

    /// Spaces and the like are three octal digits after a backslash.
    private static func unescaped(_ field: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(field.utf8)[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == UInt8(ascii: "\\"), let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8), digits.count == 3 {
                bytes.append(value)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
