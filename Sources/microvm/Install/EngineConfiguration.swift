import OCI

/// An engine's configuration file, and what naming this runtime in it takes. Pure: texts in, texts out.
struct EngineConfiguration {
    /// Below the directory of the system's configuration.
    let file: String
    /// The file's text with the runtime in it; nil stands for no file.
    let installing: (String?) throws -> String
    /// The text without it; nil: there is nothing left to say in the file.
    let removing: (String) throws -> String?
    /// What the user does next.
    let advice: String

    /// - Parameters:
    ///   - name: the engine's name for the runtime.
    ///   - program: absolute path.
    init(_ engine: Engine, name: String, program: String) {
        switch engine {
        case .podman:
            file = "containers/containers.conf.d/50-\(name).conf"
            advice = "podman run --runtime \(name) …"
            let text = """
                [engine]
                # Errors in JSON, so that podman tells a missing program (127) from others. The list replaces podman's own.
                runtime_supports_json = ["crun", "runc", "kata", "runsc", "krun", \(quoted(name))]

                [engine.runtimes]
                \(name) = [\(quoted(program))]

                """
            // A file of our own beside the engine's.
            installing = { _ in text }
            removing = { _ in nil }
        case .crio:
            file = "crio/crio.conf.d/50-\(name).conf"
            advice = "systemctl restart crio, then use runtimeClassName with handler \(name)"
            let text = """
                [crio.runtime.runtimes.\(name)]
                runtime_path = \(quoted(program))
                runtime_type = "oci"
                runtime_root = "/run/microvm"

                """
            installing = { _ in text }
            removing = { _ in nil }
        case .docker:
            file = "docker/daemon.json"
            installing = { try DockerConfiguration($0).adding(name, program) }
            removing = { try DockerConfiguration($0).removing(name) }
            advice = "systemctl reload docker, then docker run --runtime \(name) …"
        case .containerd:
            file = "containerd/config.toml"
            installing = { try ContainerdConfiguration($0, name).adding(program) }
            removing = { try ContainerdConfiguration($0, name).removing() }
            advice = "systemctl restart containerd, then use runtimeClassName with handler \(name)"
        }
    }
}

enum Engine: String, CaseIterable {
    case podman, docker, containerd, crio
}

/// A string of TOML or JSON; paths and names have no control characters.
private func quoted(_ text: String) -> String { JSON.write(JSON.Value(.string(text))) }

/// `daemon.json`: an entry among `runtimes`; everything else stays.
private struct DockerConfiguration {
    private var members: [(key: String, value: JSON.Value)] = []

    init(_ text: String?) throws {
        guard let text, !text.allSatisfy(\.isWhitespace) else { return }
        let value: JSON.Value
        do { value = try JSON.read(Array(text.utf8)) } catch { throw Failure(.badInput, "daemon.json: \(error)") }
        guard case .object(let object) = value.content else { throw Failure(.badInput, "daemon.json: want object, is \(value.kind)") }
        members = object.members.map { ($0.key, $0.value) }
    }

    func adding(_ name: String, _ program: String) throws -> String {
        try text(try runtimes().filter { $0.key != name } + [(name, object([("path", JSON.Value(.string(program)))]))]) ?? ""
    }

    func removing(_ name: String) throws -> String? { try text(runtimes().filter { $0.key != name }) }

    private func runtimes() throws -> [(key: String, value: JSON.Value)] {
        guard let value = members.first(where: { $0.key == "runtimes" })?.value else { return [] }
        guard case .object(let object) = value.content else { throw Failure(.badInput, "daemon.json: runtimes: want object, is \(value.kind)") }
        return object.members.map { ($0.key, $0.value) }
    }

    private func text(_ runtimes: [(key: String, value: JSON.Value)]) throws -> String? {
        var all = members
        let place = all.firstIndex { $0.key == "runtimes" } ?? all.count
        all.removeAll { $0.key == "runtimes" }
        if !runtimes.isEmpty { all.insert(("runtimes", object(runtimes)), at: place) }
        return all.isEmpty ? nil : JSON.write(object(all), .pretty) + "\n"
    }

    private func object(_ members: [(key: String, value: JSON.Value)]) -> JSON.Value {
        var object = JSON.Object()
        for member in members { _ = object.append(member.key, member.value) }
        return JSON.Value(.object(object))
    }
}

/// `config.toml`: a table at the file's end, between two lines that say whose it is.
private struct ContainerdConfiguration {
    private let lines: [Substring]
    private let name: String

    init(_ text: String?, _ name: String) throws {
        self.name = name
        var lines = (text ?? "").split(separator: "\n", omittingEmptySubsequences: false)
        while lines.last?.allSatisfy(\.isWhitespace) == true { lines.removeLast() }
        let (begin, end) = Self.marks(name)
        if let first = lines.firstIndex(where: { $0 == begin }) {
            guard let last = lines[first...].firstIndex(where: { $0 == end }) else { throw Failure(.badInput, "config.toml: \"\(begin)\" without its end") }
            lines.removeSubrange(first...last)
            while lines.last?.allSatisfy(\.isWhitespace) == true { lines.removeLast() }
        }
        self.lines = lines
    }

    private static func marks(_ name: String) -> (String, String) { ("# BEGIN runtime \(name)", "# END runtime \(name)") }

    func adding(_ program: String) throws -> String {
        let version = lines.lazy.map { $0.split(separator: "=").map { $0.filter { !$0.isWhitespace } } }.first { $0.first == "version" }.flatMap { $0.last }
        let plugin: String
        switch version {
        case "3": plugin = "io.containerd.cri.v1.runtime"
        case "2": plugin = "io.containerd.grpc.v1.cri"
        case nil where lines.isEmpty: plugin = "io.containerd.grpc.v1.cri"
        default: throw Failure(.badInput, "config.toml: this is containerd's old format; add the line version = 2 and rename its plugins first")
        }
        let table = "[plugins.\"\(plugin)\".containerd.runtimes.\(name)]"
        guard !lines.contains(where: { $0.filter { !$0.isWhitespace } == table }) else {
            throw Failure(.badInput, "config.toml: has a runtime \(name) already, which is not ours to change")
        }
        let (begin, end) = Self.marks(name)
        // With any table of a runtime containerd no longer knows the one it uses when none is asked for.
        let usual = "[plugins.\"\(plugin)\".containerd.runtimes.runc"
        let hasUsual = name == "runc" || lines.contains { $0.filter { !$0.isWhitespace }.hasPrefix(usual) }
        return (lines.isEmpty ? "version = 2\n" : lines.joined(separator: "\n") + "\n") + """

            \(begin)
            \(table)
              # containerd's shim for runc, with this program in runc's place.
              runtime_type = "io.containerd.runc.v2"
              [plugins."\(plugin)".containerd.runtimes.\(name).options]
                BinaryName = \(quoted(program))
                Root = "/run/microvm/containerd"
            \(hasUsual ? "" : "\(usual)]\n  runtime_type = \"io.containerd.runc.v2\"\n")\(end)

            """
    }

    func removing() -> String? {
        let text = lines.joined(separator: "\n")
        // All that is left of a file which this program made.
        return text.isEmpty || text == "version = 2" ? nil : text + "\n"
    }
}
