/// Where a guest kernel's boot spent its time: what its boot CPU did at every millisecond.
///
/// The VMM does not unwind: all words of the kernel's stack that point into its code are taken for return addresses, so a stack
/// may name functions that had returned already. Leaves are exact.
public struct BootProfile: Sendable {
    /// Functions of one sample, the outermost first.
    private let stacks: [[String]]

    public struct Row: Codable, Sendable, Equatable {
        public let function: String
        public let samples: Int
    }

    /// - Parameter text: what the VMM wrote: `TIME ADDRESS…` lines, the innermost address first.
    public init(_ text: String, _ symbols: SymbolTable) {
        stacks = text.split(separator: "\n").map { line in
            let addresses = line.split(separator: " ").dropFirst().compactMap { UInt64($0, radix: 16) }
            return addresses.reversed().map { address in
                guard address >= 1 << 63 else { return "user programs" }
                return symbols.name(of: address) ?? "0x" + String(address, radix: 16)
            }
        }
    }

    public var count: Int { stacks.count }

    /// By the function that was running.
    public var functions: [Row] { Self.rows(stacks.compactMap(\.last)) }

    /// By the initcall that was running: what `do_one_initcall` had called.
    public var initcalls: [Row] {
        Self.rows(
            stacks.compactMap { stack in
                guard let caller = stack.lastIndex(of: "do_one_initcall"), caller + 1 < stack.count else { return nil }
                return stack[caller + 1]
            })
    }

    /// `outer;…;inner COUNT` lines, the input of flame graph programs.
    public var folded: String {
        Self.rows(stacks.map { $0.joined(separator: ";") }).map { "\($0.function) \($0.samples)\n" }.joined()
    }

    /// A flame graph of text: callers above what they called, those with at least `share` of all samples.
    public func flame(atLeast share: Double, width: Int = 40) -> String {
        let root = Node()
        for stack in stacks { root.add(stack[...]) }
        var lines: [String] = []
        root.print(Swift.max(1, Int(share * Double(count))), of: Swift.max(1, count), width, depth: 0, into: &lines)
        return lines.joined()
    }

    /// The most frequent first.
    private static func rows(_ names: [String]) -> [Row] {
        names.reduce(into: [:]) { $0[$1, default: 0] += 1 }
            .map { Row(function: $0.key, samples: $0.value) }
            .sorted { ($0.samples, $1.function) > ($1.samples, $0.function) }
    }

    private final class Node {
        private var samples = 0
        private var callees: [String: Node] = [:]

        func add(_ stack: ArraySlice<String>) {
            samples += 1
            guard let next = stack.first else { return }
            let callee = callees[next] ?? Node()
            callees[next] = callee
            callee.add(stack.dropFirst())
        }

        func print(_ least: Int, of total: Int, _ width: Int, depth: Int, into lines: inout [String]) {
            for (name, node) in callees.filter({ $0.value.samples >= least }).sorted(by: { $0.value.samples > $1.value.samples }) {
                let tenths = node.samples * 1000 / total
                let share = "\(tenths / 10).\(tenths % 10)"
                let bar = String(repeating: "▇", count: Swift.max(1, node.samples * width / total))
                let padding = String(repeating: " ", count: Swift.max(0, 5 - share.count))
                lines.append("\(padding)\(share) %  \(String(repeating: " ", count: min(depth, 20)))\(name) \(bar)\n")
                node.print(least, of: total, width, depth: depth + 1, into: &lines)
            }
        }
    }
}
