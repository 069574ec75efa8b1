import ArgumentParser
import Glibc
import Linux
import OCI
import Sandbox

struct BootProfileCommand: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "boot-profile", abstract: "Boot a guest once and show where its kernel spends the time.",
        discussion: """
            Samples the boot CPU every millisecond from its first instruction to the agent's call. Where KVM interprets the \
            guest's kernel a sample is worth its instructions, so the shares are those of a boot anywhere. Stacks are guessed \
            from what lies on the kernel's stack; the running function is exact.
            """)

    @OptionGroup var globals: GlobalOptions
    @OptionGroup(title: "Machine") var machine: MachineFlags
    @Option(help: ArgumentHelp("The kernel's System.map. Default: ../share/microvm/System.map beside this program.", valueName: "file"))
    var symbols: String?
    @Option(help: ArgumentHelp("Rows of each table.", valueName: "n")) var top = 20
    @Option(help: ArgumentHelp("Leave out of the flame graph what has less than this share of all samples.", valueName: "percent"))
    var threshold = 1.0
    @Flag(help: "Print folded stacks, the input of flame graph programs, and nothing else.") var folded = false
    @Flag(help: "Print JSON: nanoseconds, samples, functions and initcalls.") var json = false

    private static let defaultMemory = 128 << 20

    private struct Report: Encodable {
        let nanoseconds: UInt64
        let samples: Int
        let functions: [BootProfile.Row]
        let initcalls: [BootProfile.Row]
    }

    func validate() throws {
        guard top > 0 else { throw ValidationError("--top: \(top) is not a number of rows") }
        guard (0...100).contains(threshold) else { throw ValidationError("--threshold: \(threshold) is no percentage") }
    }

    func run() throws {
        let root = try globals.stateRoot()
        var launch = Launch(id: "boot-profile", bundle: "/", root: root.path, mode: .foreground)
        try machine.apply(to: &launch)
        try prepareHost(&launch, root)
        try root.ensure()
        let parent = try Descriptor.open(root.path, O_RDONLY | O_DIRECTORY)
        let name = ".boot-profile.\(processID())"
        try parent.makeDirectory(name, mode: 0o700)
        let directory = try Descriptor.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: parent)
        defer {
            for entry in (try? directory.entryNames()) ?? [] { try? directory.remove(entry) }
            try? parent.remove(name, isDirectory: true)
        }
        if Descriptor.standardError.isTerminal { try? Descriptor.standardError.writeAll("booting a guest…\n") }
        let boot = try ProfiledBoot(
            launch.machine, cpus: launch.cpus ?? 1, memory: launch.memory ?? Self.defaultMemory, symbols: symbols, in: directory)
        try printOut(folded ? boot.profile.folded : json ? JSON.encode(report(boot), .pretty) + "\n" : text(boot))
    }

    private func report(_ boot: ProfiledBoot) -> Report {
        Report(
            nanoseconds: boot.duration, samples: boot.profile.count, functions: Array(boot.profile.functions.prefix(top)),
            initcalls: Array(boot.profile.initcalls.prefix(top)))
    }

    private func text(_ boot: ProfiledBoot) -> String {
        let milliseconds = boot.duration / 1_000_000
        return """
            \(milliseconds) ms from the first instruction to the agent's call, \(boot.profile.count) samples

            \(table("FUNCTION", boot.profile.functions, of: boot.profile.count))
            \(table("INITCALL", boot.profile.initcalls, of: boot.profile.count))
            \(boot.profile.flame(atLeast: threshold / 100))
            """
    }

    private func table(_ title: String, _ rows: [BootProfile.Row], of total: Int) -> String {
        var table = Table(["SHARE", "SAMPLES", title])
        for row in rows.prefix(top) {
            let tenths = row.samples * 1000 / max(1, total)
            table.add(["\(tenths / 10).\(tenths % 10) %", "\(row.samples)", row.function])
        }
        return table.text
    }
}
