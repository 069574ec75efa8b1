import ArgumentParser
import Linux
import OCI
import Sandbox

struct TemplateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "template", abstract: "Machines that have booted already, for others to go on from.",
        discussion: """
            A start goes on from the template of its machine's size, and makes it when there is none. A template is good for \
            one kernel, guest image, monitor program, command line, size and host kernel: for what is not the same another \
            is made. Where KVM does not interpret the guest's kernel machines with more CPUs and memory grow from the template \
            of one CPU and the default memory.
            """,
        subcommands: [TemplateBuild.self, TemplateList.self, TemplateRemove.self])
}

struct TemplateBuild: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "build", abstract: "Make a template, in place of the one there may be.",
        discussion: "Takes as long as a boot. Prints the template's key.")

    @OptionGroup var globals: GlobalOptions
    @OptionGroup(title: "Machine") var machine: MachineFlags

    func run() throws {
        let root = try globals.stateRoot()
        var launch = Launch(id: "template", bundle: "/", root: root.path, mode: .foreground)
        try machine.apply(to: &launch)
        try prepareHost(&launch, root)
        let size = try MachineSize(cpus: launch.cpus, memory: launch.memory, softwareKVM: launch.machine.softwareKVM ?? false)
        let templates = try Templates(launch.machine, build: Version.number)
        let key = try templates.make(size, on: EventLoop()) { TemplateReporter().show($0) }
        guard let key else { throw Failure(.failure, "another process is making a template") }
        try printOut("\(key)\n")
    }
}

struct TemplateList: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the templates, the last used first.",
        discussion: "State: ok; stale when what it was made of is not there or not the same any more; damaged (with --verify).")

    @OptionGroup var globals: GlobalOptions
    @OptionGroup(title: "Machine") var machine: MachineFlags
    @Option(name: .shortAndLong, help: "How to print it.") var format: TableFormat = .table
    @Flag(help: "Read each template whole and compare it with its checksums; without, that is done for what was touched since it was made.")
    var verify = false

    struct Row: Encodable {
        let key: String
        let cpus: Int?
        /// Bytes, as are `size` and `workingSet`.
        let memory: Int?
        let size: Int
        let workingSet: Int?
        let created: String?
        let used: String
        let state: String
        let reason: String?
    }

    func run() throws {
        var launch = Launch(id: "template", bundle: "/", root: "/", mode: .foreground)
        try machine.apply(to: &launch)
        let installation = try Installation(vmm: launch.machine.vmm, kernel: launch.machine.kernel, image: launch.machine.image)
        let rows = try TemplateStore(launch.machine.templates).all().map { template in
            let damage = verify ? try template.damage(monitor: installation.vmm) : nil
            return Row(
                key: "\(template.key)", cpus: template.record?.cpus, memory: template.record?.memory, size: template.size,
                workingSet: template.workingSet,
                created: template.record?.created, used: timestamp(template.usedAt),
                state: damage != nil ? "damaged" : template.isCurrent ? "ok" : "stale", reason: damage)
        }
        if format == .json { return try printOut(JSON.encode(rows, .pretty) + "\n") }
        var table = Table(["KEY", "CPUS", "MEMORY", "SIZE", "CREATED", "STATE"])
        for row in rows {
            table.add([
                row.key, row.cpus.map { "\($0)" } ?? "?", row.memory.map(megabytes) ?? "?", megabytes(row.size),
                row.created.map { String($0.prefix(19)) + "Z" } ?? "?", row.state + (row.reason.map { ": \($0)" } ?? ""),
            ])
        }
        try printOut(table.text)
        if rows.contains(where: { $0.state == "damaged" }) { throw ExitCode(ExitStatus.badInput.rawValue) }
    }
}

struct TemplateRemove: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Remove templates.", discussion: "Machines made of them go on.")

    @OptionGroup var globals: GlobalOptions
    @OptionGroup(title: "Machine") var machine: MachineFlags
    @Flag(help: "Remove every template.") var all = false
    @Argument(help: ArgumentHelp("Keys, as template list shows them.", valueName: "key")) var keys: [String] = []

    func run() throws {
        guard all || !keys.isEmpty else { throw Failure(.usage, "template remove: name keys, or --all") }
        var launch = Launch(id: "template", bundle: "/", root: "/", mode: .foreground)
        try machine.apply(to: &launch)
        let store = try TemplateStore(launch.machine.templates)
        let wanted = try keys.map { text in
            guard let key = TemplateKey(text) else { throw Failure(.usage, "\"\(text)\" is no template's key") }
            return key
        }
        for key in try wanted + (all ? store.all().map(\.key) : []) { try remove(key, from: store) }
    }

    private func remove(_ key: TemplateKey, from store: TemplateStore) throws {
        do { try store.remove(key) } catch {
            guard error.errno == .noSuchFileOrDirectory else { throw error }
            // With --all it has gone by itself.
            if !all { throw Failure(.missing, "there is no template \(key)") }
        }
    }
}
