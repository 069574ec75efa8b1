import ArgumentParser
import Glibc
import Linux
import Sandbox

struct InstallCommand: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "install", abstract: "Name this runtime in an engine's configuration.",
        discussion: """
            Changes nothing but the one entry it makes, and a second time nothing. The engines' defaults stay: a container \
            runs in a virtual machine when it is asked for by the runtime's name.
            """)

    @OptionGroup var globals: GlobalOptions
    @Flag(help: "containers/containers.conf.d/, for podman, rootful and rootless.") var podman = false
    @Flag(help: "docker/daemon.json.") var docker = false
    @Flag(help: "containerd/config.toml, for Kubernetes and crictl.") var containerd = false
    @Flag(help: "crio/crio.conf.d/, for CRI-O.") var crio = false
    @Flag(help: "Show what would be written, and write nothing.") var dryRun = false
    @Flag(help: "Take the entry out again.") var undo = false
    @Option(help: ArgumentHelp("The runtime's name in the engine.", valueName: "name")) var name = "microvm"
    @Option(help: ArgumentHelp("Directory of the system's configuration.", valueName: "dir")) var etc = "/etc"

    func run() throws {
        let chosen = [(Engine.podman, podman), (.docker, docker), (.containerd, containerd), (.crio, crio)].filter(\.1).map(\.0)
        guard !chosen.isEmpty else { throw Failure(.usage, "install: which engine? --podman, --docker, --containerd or --crio") }
        guard !name.isEmpty, name.utf8.allSatisfy({ isNameByte($0) }) else { throw Failure(.usage, "--name: \"\(name)\" is not letters, digits and -") }
        for engine in chosen { try change(EngineConfiguration(engine, name: name, program: executablePath())) }
    }

    private func isNameByte(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "-") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
            || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
    }

    private func change(_ configuration: EngineConfiguration) throws {
        let path = "\(absolutePath(etc))/\(configuration.file)"
        let before = try contents(path)
        let after = undo ? try before.flatMap { try configuration.removing($0) } : try configuration.installing(before)
        guard after != before else { return try printOut("\(path): nothing to change\n") }
        if dryRun { return try printOut("\(path):\n\(after ?? "(removed)\n")") }
        do throws(SystemError) { try write(after, to: path) } catch { throw Failure(ExitStatus(of: error), "\(path): \(error)") }
        try printOut(undo ? "\(path): removed \(name)\n" : "\(path): added \(name); now: \(configuration.advice)\n")
    }

    private func contents(_ path: String) throws -> String? {
        do throws(SystemError) {
            return String(decoding: try Descriptor.open(path, O_RDONLY).readToEnd(limit: 1 << 20), as: UTF8.self)
        } catch {
            if error.errno == .noSuchFileOrDirectory { return nil }
            throw Failure(ExitStatus(of: error), "\(path): \(error.errno)")
        }
    }

    /// At once, so that an engine never reads half a file; its permissions stay.
    private func write(_ text: String?, to path: String) throws(SystemError) {
        let name = String(path.split(separator: "/").last ?? "")
        let folder = directory(of: path)
        guard let text else { return try Descriptor.open(folder, O_RDONLY | O_DIRECTORY).remove(name) }
        try makeDirectories(folder, mode: 0o755)
        let mode = (try? Descriptor.open(path, O_RDONLY).status().st_mode & 0o777) ?? 0o644
        try Descriptor.open(folder, O_RDONLY | O_DIRECTORY).replaceFile(name, with: Array(text.utf8), mode: mode)
    }
}
