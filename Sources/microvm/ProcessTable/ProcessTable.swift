import AgentAPI
import Glibc
import Linux

/// A container's processes as ps shows them. Its options choose the columns; which processes there are, the container does.
struct ProcessTable {
    /// Names and times of this host.
    struct Context {
        private var names: [UInt32: String] = [:]
        private let now = Int(wallClockNanoseconds() / 1_000_000_000)
        /// The machine's, in KiB.
        let memory: UInt64

        init(memory: UInt64, passwd: String = Context.passwd()) {
            self.memory = memory
            for line in passwd.split(separator: "\n") {
                let fields = line.split(separator: ":", omittingEmptySubsequences: false)
                if fields.count > 2, let user = UInt32(fields[2]), names[user] == nil { names[user] = String(fields[0]) }
            }
        }

        private static func passwd() -> String {
            (try? Descriptor.open("/etc/passwd", O_RDONLY).readToEnd(limit: 1 << 20)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        }

        func userName(_ user: UInt32) -> String { names[user] ?? "\(user)" }

        /// When something began: the time of today, or the day.
        func clock(_ millisecondsAgo: UInt64) -> String {
            let seconds = Int(clamping: millisecondsAgo / 1000)
            var then = max(0, now - min(seconds, now))
            var parts = tm()
            unsafe localtime_r(&then, &parts)
            func padded(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
            guard seconds >= 86400 else { return "\(padded(parts.tm_hour)):\(padded(parts.tm_min))" }
            let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
            return months[min(max(0, Int(parts.tm_mon)), 11)] + padded(parts.tm_mday)
        }
    }

    private static let full: [Column] = [Column(.user, "UID"), Column(.pid), Column(.ppid), Column(.c), Column(.stime), Column(.tty), Column(.time), Column(.cmd)]
    private static let short: [Column] = [Column(.pid), Column(.tty), Column(.time), Column(.comm, "CMD")]
    private static let bsd: [Column] = [Column(.pid), Column(.tty), Column(.stat), Column(.bsdtime), Column(.args)]
    private static let users: [Column] =
        [Column(.user), Column(.pid), Column(.pcpu), Column(.pmem), Column(.vsz), Column(.rss), Column(.tty), Column(.stat), Column(.start), Column(.bsdtime), Column(.args)]

    private struct Column {
        let kind: ProcessColumn
        let header: String

        init(_ kind: ProcessColumn, _ header: String? = nil) {
            self.kind = kind
            self.header = header ?? kind.header
        }
    }

    private let columns: [Column]

    /// - Parameter options: as ps(1) has them, without any `-ef`; those that select processes change nothing.
    init(_ options: [String]) throws(Failure) {
        var chosen: [Column] = []
        var (isFull, isBSD, hasUsers) = (options.isEmpty, false, false)
        var rest = options[...]
        while let option = rest.popFirst() {
            let isUNIX = option.hasPrefix("-")
            var letters = isUNIX ? option.dropFirst() : option[...]
            guard !letters.isEmpty, !letters.hasPrefix("-") else { throw Self.unknown(option) }
            while let letter = letters.popFirst() {
                switch letter {
                case "o":
                    guard let list = letters.isEmpty ? rest.popFirst().map({ $0[...] }) : letters else { throw Failure(.usage, "ps: -o needs a list of columns") }
                    chosen += try Self.list(list)
                    letters = ""
                case "x": isBSD = true
                case "e" where isUNIX, "A" where isUNIX, "d" where isUNIX: break
                case "a", "w": if !isUNIX { isBSD = true }
                case "f" where isUNIX: isFull = true
                case "u" where !isUNIX: hasUsers = true
                default: throw Self.unknown(option)
                }
            }
        }
        columns = !chosen.isEmpty ? chosen : hasUsers ? Self.users : isBSD ? Self.bsd : isFull ? Self.full : Self.short
    }

    private static func list(_ list: Substring) throws(Failure) -> [Column] {
        var columns: [Column] = []
        for word in list.split(whereSeparator: { $0 == "," || $0 == " " }) {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let kind = ProcessColumn(rawValue: String(parts[0])) else {
                throw Failure(.usage, "ps: -o \(parts[0]): known are \(ProcessColumn.allCases.map(\.rawValue).joined(separator: ", "))")
            }
            columns.append(Column(kind, parts.count > 1 ? String(parts[1]) : nil))
        }
        return columns
    }

    private static func unknown(_ option: String) -> Failure {
        Failure(.usage, "ps: unknown option \(option): known are -e, -A, -a, -x, -f, -w, a, x, u, w and -o")
    }

    func text(_ processes: [ListProcessesResponse.Process], _ context: Context) -> String {
        var table = Table(columns.map { $0.kind.padded($0.header) })
        for process in processes.sorted(by: { $0.pid < $1.pid }) { table.add(columns.map { $0.kind.padded($0.kind.text(process, context)) }) }
        return table.text
    }
}
