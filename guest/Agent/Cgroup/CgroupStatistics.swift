/// A cgroup's files as numbers by file and key.
enum CgroupStatistics {
    private static let files = [
        "cpu.stat", "cpu.max", "memory.current", "memory.peak", "memory.max", "memory.low", "memory.swap.current", "memory.swap.max",
        "memory.events", "memory.stat", "pids.current", "pids.max", "pids.events", "io.stat", "hugetlb.2MB.current", "hugetlb.2MB.max",
        "hugetlb.2MB.events", "cgroup.stat",
    ]

    static func read(_ cgroup: Cgroup) -> [String: UInt64] {
        var values: [String: UInt64] = [:]
        for file in files {
            // A controller that is not there has no files.
            guard let text = try? cgroup.read(file) else { continue }
            add(text, of: file, to: &values)
        }
        return values
    }

    /// `value`, `key value` and `device key=value …` lines; `max` is the largest number.
    static func add(_ text: String, of file: String, to values: inout [String: UInt64]) {
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard let first = words.first else { continue }
            if words.dropFirst().contains(where: { $0.contains("=") }) {
                for word in words.dropFirst() {
                    let parts = word.split(separator: "=", maxSplits: 1)
                    if parts.count == 2, let value = number(parts[1]) { values["\(file)/\(first)/\(parts[0])"] = value }
                }
            } else if let value = number(first) {
                values[file] = value
            } else if words.count == 2, let value = number(words[1]) {
                values["\(file)/\(first)"] = value
            }
        }
    }

    private static func number(_ text: Substring) -> UInt64? { text == "max" ? .max : UInt64(text) }
}
