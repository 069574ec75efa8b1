import AgentAPI
import Glibc
import Linux

/// What `/proc` says about processes.
enum ProcessList {
    private static let commandLimit = 4096

    /// - Parameter execs: ids by the pid the host started; descendants count to theirs.
    static func read(_ pids: [Int32], execs: [Int32: String]) -> [ListProcessesResponse.Process] {
        var parents: [Int32: Int32] = [:]
        var names: [Int32: String] = [:]
        for pid in pids {
            guard let status = status(pid) else { continue }
            parents[pid] = status.parent
            names[pid] = status.name
        }
        return pids.sorted().compactMap { pid in
            guard let name = names[pid] else { return nil }
            return .with {
                $0.pid = UInt32(bitPattern: pid)
                $0.command = commandLine(pid) ?? "[\(name)]"
                $0.execID = exec(of: pid, parents, execs)
            }
        }
    }

    private static func exec(of pid: Int32, _ parents: [Int32: Int32], _ execs: [Int32: String]) -> String {
        var next: Int32? = pid
        for _ in 0...parents.count {
            guard let pid = next else { break }
            if let id = execs[pid] { return id }
            next = parents[pid]
        }
        return ""
    }

    /// Name and parent of `/proc/PID/stat`: the name is in parentheses and may hold anything.
    private static func status(_ pid: Int32) -> (name: String, parent: Int32)? {
        guard let bytes = try? Descriptor.open("/proc/\(pid)/stat", O_RDONLY).read(upTo: 4096),
            let begin = bytes.firstIndex(of: UInt8(ascii: "(")), let end = bytes.lastIndex(of: UInt8(ascii: ")")), begin < end
        else { return nil }
        let fields = bytes[(end + 1)...].split(separator: UInt8(ascii: " "))
        guard fields.count > 1 else { return nil }
        return (String(decoding: bytes[(begin + 1)..<end], as: UTF8.self), Int32(String(decoding: fields[1], as: UTF8.self)) ?? 0)
    }

    private static func commandLine(_ pid: Int32) -> String? {
        guard let bytes = try? Descriptor.open("/proc/\(pid)/cmdline", O_RDONLY).read(upTo: commandLimit) else { return nil }
        let words = bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        return words.isEmpty ? nil : words.joined(separator: " ")
    }
}
