import Linux
import OCI
import Sandbox

/// Tells a person that a template is being made: a line that counts on a terminal, one line that stays elsewhere.
struct TemplateReporter {
    private let output: Descriptor

    init(_ output: Descriptor = .standardError) {
        self.output = output
    }

    func show(_ progress: Templates.Progress) {
        if output.isTerminal {
            try? output.writeAll(onTerminal(progress))
        } else if case .began(let size) = progress {
            try? output.writeAll(Self.beginning(size) + "\n")
        }
    }

    static func beginning(_ size: MachineSize) -> String {
        "microvm: making a template for machines of \(machine(size)); later starts use it"
    }

    private func onTerminal(_ progress: Templates.Progress) -> String {
        // To the line's start, and clear it.
        let line = "\r\u{1b}[K"
        return switch progress {
        case .began(let size): line + Self.beginning(size)
        case .goesOn(let nanoseconds): line + "microvm: making a template, \(nanoseconds / 1_000_000_000) s"
        case .ended(let nanoseconds): line + "microvm: made a template in \(tenths(nanoseconds)) s; later starts use it\n"
        case .failed: line
        }
    }

    private static func machine(_ size: MachineSize) -> String {
        "\(size.cpus) \(size.cpus == 1 ? "CPU" : "CPUs") and \(megabytes(size.memory))"
    }

    private func tenths(_ nanoseconds: UInt64) -> String {
        let tenths = (nanoseconds + 50_000_000) / 100_000_000
        return "\(tenths / 10).\(tenths % 10)"
    }
}

/// `256M`.
func megabytes(_ bytes: Int) -> String { "\((bytes + (1 << 20) - 1) >> 20)M" }
