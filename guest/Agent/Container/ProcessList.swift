import AgentAPI
import Glibc
import Linux

/// What `/proc` says about processes.
enum ProcessList {
    private static let commandLimit = 4096

    /// - Parameter execs: ids by the pid the host started; descendants count to theirs.
    static func read(_ pids: [Int32], execs: [Int32: String]) -> [ListProcessesResponse.Process] {
        var all: [Int32: ProcessStatus] = [:]
        for pid in pids { all[pid] = ProcessStatus(pid) }
        return pids.sorted().compactMap { pid in
            guard let status = all[pid] else { return nil }
            return .with {
                $0.pid = UInt32(bitPattern: pid)
                $0.command = commandLine(pid) ?? "[\(status.name)]"
                $0.execID = exec(of: pid, all, execs)
                $0.name = status.name
                $0.parent = UInt32(bitPattern: status.parent)
                $0.user = status.user
                $0.state = status.letters
                $0.terminal = status.terminal
                $0.millisecondsSinceStart = status.age
                $0.cpuMilliseconds = status.cpuTime
                $0.virtualKibibytes = status.virtualMemory
                $0.residentKibibytes = status.residentMemory
            }
        }
    }

    /// The machine's, in KiB.
    static func memory() -> UInt64 {
        UInt64(clamping: sysconf(Int32(_SC_PHYS_PAGES))) &* UInt64(clamping: sysconf(Int32(_SC_PAGESIZE))) / 1024
    }

    private static func exec(of pid: Int32, _ all: [Int32: ProcessStatus], _ execs: [Int32: String]) -> String {
        var next: Int32? = pid
        for _ in 0...all.count {
            guard let pid = next else { break }
            if let id = execs[pid] { return id }
            next = all[pid]?.parent
        }
        return ""
    }

    private static func commandLine(_ pid: Int32) -> String? {
        guard let bytes = try? Descriptor.open("/proc/\(pid)/cmdline", O_RDONLY).read(upTo: commandLimit) else { return nil }
        let words = bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        return words.isEmpty ? nil : words.joined(separator: " ")
    }
}

/// `/proc/PID/stat`, and the user of `/proc/PID/status` (proc(5)).
struct ProcessStatus {
    private static let millisecondsPerTick: UInt64 = 10

    /// Anything: the program chooses it.
    let name: String
    let user: UInt32
    private let pid: Int32
    private let fields: [Substring]

    /// - Returns: nil for a process that has gone.
    init?(_ pid: Int32) {
        // The name is in parentheses, which it may hold itself.
        guard let stat = try? Descriptor.open("/proc/\(pid)/stat", O_RDONLY).read(upTo: 4096),
            let begin = stat.firstIndex(of: UInt8(ascii: "(")), let end = stat.lastIndex(of: UInt8(ascii: ")")), begin < end,
            let status = try? Descriptor.open("/proc/\(pid)/status", O_RDONLY).read(upTo: 4096)
        else { return nil }
        self.pid = pid
        name = String(decoding: stat[(begin + 1)..<end], as: UTF8.self)
        fields = String(decoding: stat[(end + 1)...], as: UTF8.self).split(whereSeparator: \.isWhitespace)
        let users = String(decoding: status, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("Uid:") }
        user = users?.split(separator: "\t").dropFirst(2).first.flatMap { UInt32($0) } ?? 0
    }

    /// By the manual page's number, from 3 on.
    private func number(_ field: Int) -> Int64 {
        fields.indices.contains(field - 3) ? Int64(fields[field - 3]) ?? 0 : 0
    }

    var parent: Int32 { Int32(truncatingIfNeeded: number(4)) }

    /// ps's STAT.
    var letters: String {
        let (group, session, nice) = (number(5), number(6), number(19))
        var letters = String(fields.first ?? "?")
        if nice != 0 { letters += nice < 0 ? "<" : "N" }
        if session == Int64(pid) { letters += "s" }
        if number(20) > 1 { letters += "l" }
        if number(8) == group { letters += "+" }
        return letters
    }

    var terminal: String {
        let device = dev_t(UInt32(truncatingIfNeeded: number(7)))
        let (major, minor) = (deviceMajor(device), deviceMinor(device))
        // Eight majors are pseudo terminals'.
        return (136..<144).contains(major) ? "pts/\((major - 136) << 20 | minor)" : "?"
    }

    var cpuTime: UInt64 { (UInt64(clamping: number(14)) &+ UInt64(clamping: number(15))) &* Self.millisecondsPerTick }
    var age: UInt64 {
        let (now, start) = (bootNanoseconds() / 1_000_000, UInt64(clamping: number(22)) &* Self.millisecondsPerTick)
        return now > start ? now - start : 0
    }
    var virtualMemory: UInt64 { UInt64(clamping: number(23)) / 1024 }
    var residentMemory: UInt64 { UInt64(clamping: number(24)) &* 4 }
}
