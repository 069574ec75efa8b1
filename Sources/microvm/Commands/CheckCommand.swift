import ArgumentParser
import Glibc
import KVM
import Linux
import OCI
import Sandbox

struct CheckCommand: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Say in plain words what this host can run.",
        discussion: "Exits non-zero when no container would start: 69 without usable virtualisation, 77 without permission, 66 without our own files.")

    @OptionGroup var globals: GlobalOptions
    @OptionGroup(title: "Machine") var machine: MachineFlags
    @Flag(help: "Print JSON: an array of name, state (ok, slow or missing) and text.") var json = false

    /// One thing that is needed.
    struct Item: Encodable {
        enum State: String, Encodable { case ok, slow, missing }
        let name: String
        let state: State
        let text: String
    }

    func run() throws {
        var items: [Item] = []
        var failure: ExitStatus?
        func check(_ name: String, _ body: () throws -> (Item.State, String)) {
            do {
                let (state, text) = try body()
                items.append(Item(name: name, state: state, text: text))
            } catch {
                items.append(Item(name: name, state: .missing, text: "\(error)"))
                failure = failure ?? ExitStatus(of: error)
            }
        }
        var launch = Launch(id: "check", bundle: "/", root: "/", mode: .foreground)
        try machine.apply(to: &launch)
        var system: System?
        check("kvm") {
            system = try HostKVM.open()
            return (.ok, "\(HostKVM.path) can be used")
        }
        if let system {
            check("host") {
                let verdict = try HostKVM.verdict(system, globals.stateRoot())
                return (verdict.kind == .hardware ? .ok : .slow, "\(verdict)")
            }
        }
        let files = try Installation(vmm: launch.machine.vmm, kernel: launch.machine.kernel, image: launch.machine.image)
        check("monitor") { (.ok, try found(files.vmm, "--vmm", executable: true)) }
        check("kernel") { (.ok, try found(files.kernel, "--kernel")) }
        check("image") { (.ok, try found(files.image, "--image")) }
        check("state") {
            let root = try globals.stateRoot()
            try root.ensure()
            return (.ok, root.path)
        }
        try report(items, failure)
        if let failure { throw ExitCode(failure.rawValue) }
    }

    private func found(_ path: String, _ flag: String, executable: Bool = false) throws -> String {
        do throws(SystemError) { _ = try Descriptor.open(path, O_RDONLY) } catch {
            throw Failure(.missing, "\(path): \(error.errno) (\(flag) gives another; scripts/build makes it)")
        }
        guard !executable || isExecutable(path) else { throw Failure(.missing, "\(path): not executable") }
        return path
    }

    private func report(_ items: [Item], _ failure: ExitStatus?) throws {
        if json { return try printOut(JSON.encode(items, .pretty) + "\n") }
        var table = Table()
        for item in items { table.add([item.state == .missing ? "MISSING" : item.state.rawValue, item.name, item.text]) }
        let verdict =
            if failure != nil {
                "Nothing will run here."
            } else if items.contains(where: { $0.state == .slow }) {
                "Containers run here. Starting one takes seconds, and every system call costs a fraction of a millisecond."
            } else {
                "Containers run here."
            }
        try printOut(table.text + "\n" + verdict + "\n")
    }
}
