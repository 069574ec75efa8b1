import AgentAPI
import Glibc
import Linux

/// A column of ps's, by the name its `-o` has for it.
enum ProcessColumn: String, CaseIterable {
    case pid, ppid, uid, user, c, pcpu, pmem, vsz, rss, tty, stat, stime, start, time, bsdtime, comm, args, cmd, etime

    var header: String {
        switch self {
        case .pcpu: "%CPU"
        case .pmem: "%MEM"
        case .bsdtime: "TIME"
        case .comm, .args: "COMMAND"
        case .etime: "ELAPSED"
        default: rawValue.uppercased()
        }
    }

    /// Numbers are at the right of a column, which is as wide as ps makes it.
    func padded(_ text: String) -> String {
        let width: Int
        switch self {
        case .pid, .ppid: width = 7
        case .vsz, .rss: width = 6
        case .uid, .pcpu, .pmem, .stime, .start, .bsdtime: width = 5
        case .time, .etime: width = 8
        case .c: width = 2
        default: return text
        }
        return String(repeating: " ", count: max(0, width - text.count)) + text
    }

    func text(_ process: ListProcessesResponse.Process, _ context: ProcessTable.Context) -> String {
        let share = process.millisecondsSinceStart > 0 ? process.cpuMilliseconds.multipliedReportingOverflow(by: 1000).partialValue / process.millisecondsSinceStart : 0
        switch self {
        case .pid: return "\(process.pid)"
        case .ppid: return "\(process.parent)"
        case .uid: return "\(process.user)"
        case .user: return context.userName(process.user)
        case .c: return "\(min(share / 10, 99))"
        case .pcpu: return tenths(share)
        case .pmem: return tenths(context.memory > 0 ? process.residentKibibytes.multipliedReportingOverflow(by: 1000).partialValue / context.memory : 0)
        case .vsz: return "\(process.virtualKibibytes)"
        case .rss: return "\(process.residentKibibytes)"
        case .tty: return printable(process.terminal)
        case .stat: return printable(process.state)
        case .stime, .start: return context.clock(process.millisecondsSinceStart)
        case .time: return clockTime(process.cpuMilliseconds / 1000, hours: true)
        case .bsdtime: return "\(process.cpuMilliseconds / 60_000):\(twoDigits(process.cpuMilliseconds / 1000 % 60))"
        case .etime: return clockTime(process.millisecondsSinceStart / 1000, hours: false)
        case .comm: return printable(process.name)
        case .args, .cmd: return printable(process.command)
        }
    }

    private func tenths(_ thousandths: UInt64) -> String { "\(thousandths / 10).\(thousandths % 10)" }

    /// `[[DD-]hh:]mm:ss`
    private func clockTime(_ seconds: UInt64, hours: Bool) -> String {
        let days = seconds / 86400
        let minutes = "\(twoDigits(seconds / 60 % 60)):\(twoDigits(seconds % 60))"
        guard hours || seconds >= 3600 else { return minutes }
        return (days > 0 ? "\(days)-" : "") + "\(twoDigits(seconds / 3600 % 24)):" + minutes
    }

    /// The tenant chose it, and it goes to a terminal.
    private func printable(_ text: String) -> String {
        String(text.unicodeScalars.map { $0.value < 0x20 || (0x7f...0x9f).contains($0.value) ? "?" : Character($0) })
    }
}

private func twoDigits(_ value: UInt64) -> String { value < 10 ? "0\(value)" : "\(value)" }
