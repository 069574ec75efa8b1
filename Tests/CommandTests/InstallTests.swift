import Glibc
import Linux
import Testing

@Suite("Naming this runtime in engines")
struct InstallTests {
    let host = try! TestHost()

    func install(_ arguments: String...) throws -> TestHost.Ended {
        try host.start(["install", "--etc", "\(host.path)/etc"] + arguments).wait()
    }

    func makeFile(_ name: String, _ text: String) throws {
        mkdir("\(host.path)/etc", 0o755)
        mkdir("\(host.path)/etc/\(name.split(separator: "/")[0])", 0o755)
        try host.write("etc/\(name)", text)
    }

    func exists(_ name: String) -> Bool { access("\(host.path)/etc/\(name)", F_OK) == 0 }

    @Test("every engine: a dry run writes nothing, a second run changes nothing, and undoing leaves nothing", arguments: [
        ("--podman", "containers/containers.conf.d/50-microvm.conf", "[engine.runtimes]\nmicrovm = [\""),
        ("--docker", "docker/daemon.json", "\"microvm\": {\n\t\t\t\"path\": \""),
        ("--containerd", "containerd/config.toml", "runtimes.microvm.options]\n    BinaryName = \""),
        ("--crio", "crio/crio.conf.d/50-microvm.conf", "[crio.runtime.runtimes.microvm]\nruntime_path = \""),
    ])
    func engines(flag: String, file: String, wanted: String) throws {
        let dry = try install(flag, "--dry-run")
        #expect(dry.status == 0 && dry.output.contains(wanted) && dry.output.contains(file), "\(dry.output) \(dry.errors)")
        #expect(!exists(file))
        #expect(try install(flag).status == 0)
        let text = try host.read("etc/\(file)")
        #expect(text.contains(wanted + host.programs + "/microvm\""))
        #expect(try install(flag).output.contains("nothing to change"))
        #expect(try host.read("etc/\(file)") == text)
        #expect(try install(flag, "--undo", "--dry-run").output.contains("(removed)"))
        #expect(exists(file))
        #expect(try install(flag, "--undo").status == 0)
        #expect(!exists(file))
        #expect(try install(flag, "--undo").output.contains("nothing to change"))
    }

    @Test("docker's other settings stay, in their order, and so do its permissions")
    func docker() throws {
        let before = "{\n\t\"debug\": true,\n\t\"runtimes\": {\n\t\t\"other\": {\n\t\t\t\"path\": \"/x\"\n\t\t}\n\t},\n\t\"bip\": \"10.0.0.1/8\"\n}\n"
        try makeFile("docker/daemon.json", before)
        chmod("\(host.path)/etc/docker/daemon.json", 0o600)
        #expect(try install("--docker", "--name", "vm").status == 0)
        let after = try host.read("etc/docker/daemon.json")
        #expect(after.contains("\"other\"") && after.contains("\"vm\"") && after.hasPrefix("{\n\t\"debug\": true,\n\t\"runtimes\": {"))
        #expect(try Descriptor.open("\(host.path)/etc/docker/daemon.json", O_RDONLY).status().st_mode & 0o777 == 0o600)
        #expect(try install("--docker", "--name", "vm", "--undo").status == 0)
        #expect(try host.read("etc/docker/daemon.json") == before)
    }

    @Test("containerd's file keeps its comments; a format or a table that is not ours is refused")
    func containerd() throws {
        let before = "# mine\nversion = 3\nroot = \"/x\"\n"
        try makeFile("containerd/config.toml", before)
        #expect(try install("--containerd").status == 0)
        let after = try host.read("etc/containerd/config.toml")
        #expect(after.hasPrefix(before) && after.contains("[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.microvm]"))
        #expect(try install("--containerd", "--undo").status == 0)
        #expect(try host.read("etc/containerd/config.toml") == before)
        for (text, words) in [
            ("root = \"/x\"\n", "old format"),
            ("version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.microvm]\n", "not ours"),
            ("version = 2\n# BEGIN runtime microvm\n", "without its end"),
        ] {
            try makeFile("containerd/config.toml", text)
            let ended = try install("--containerd")
            #expect(ended.status == 65 && ended.errors.contains(words), "\(ended.errors)")
            #expect(try host.read("etc/containerd/config.toml") == text)
        }
    }

    @Test("containerd's own runtime is named beside ours, which would hide it, unless it is there already")
    func containerdDefault() throws {
        let runc = "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]"
        #expect(try install("--containerd").status == 0)
        #expect(try host.read("etc/containerd/config.toml").contains("\n\(runc)\n  runtime_type = \"io.containerd.runc.v2\"\n# END"))
        #expect(try install("--containerd").output.contains("nothing to change"))
        try makeFile("containerd/config.toml", "version = 2\n\(runc)\n  runtime_type = \"io.containerd.runc.v2\"\n")
        #expect(try install("--containerd").status == 0)
        #expect(try host.read("etc/containerd/config.toml").split(separator: "\n").filter { $0 == runc }.count == 1)
    }

    @Test("a broken daemon.json is named with the place, and left alone")
    func broken() throws {
        try makeFile("docker/daemon.json", "{\"runtimes\": []}")
        #expect(try install("--docker").errors.contains("runtimes: want object, is array"))
        try makeFile("docker/daemon.json", "{")
        #expect(try install("--docker").status == 65)
        #expect(try host.read("etc/docker/daemon.json") == "{")
        #expect(try install().status == 64)
        #expect(try install("--podman", "--name", "a b").status == 64)
    }
}
