import ArgumentParser
import Glibc
import Linux
import OCI
import Sandbox

struct SpecCommand: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "spec", abstract: "Write a config.json to start from.",
        discussion: "It runs a shell on a terminal, in the directory rootfs of the bundle. A file that is there already is left alone.")

    @OptionGroup var globals: GlobalOptions

    @Option(name: [.customShort("b"), .long], help: ArgumentHelp("The bundle's directory.", valueName: "dir"))
    var bundle = "."

    @Flag(help: "For a user who is not root: root in the container is that user.")
    var rootless = false

    func run() throws {
        let spec = rootless ? Spec.rootlessTemplate(uid: effectiveUserID(), gid: effectiveGroupID()) : Spec.template()
        let text = try JSON.encode(spec, .pretty) + "\n"
        let path = "\(bundle)/config.json"
        do throws(SystemError) {
            try Descriptor.open(path, O_WRONLY | O_CREAT | O_EXCL, mode: 0o644).writeAll(text)
        } catch {
            if error.errno == .fileExists { throw Failure(.cannotCreate, "\(path) exists; remove it first") }
            throw Failure(ExitStatus(of: error), "\(path): \(error.errno)")
        }
    }
}
