/// Something in a spec that cannot be done, or not as written.
public struct Problem: Sendable, Equatable, CustomStringConvertible {
    public enum Severity: Sendable, Equatable {
        case error
        /// The container runs; the user should know.
        case warning
    }

    public let severity: Severity
    /// `process.rlimits[0].type`
    public let field: String
    public let message: String

    public var description: String { "\(field): \(message)" }
}

/// A spec that is refused, before any machine is started.
public struct InvalidSpec: Error, Sendable, Equatable, CustomStringConvertible {
    /// Errors only, at least one.
    public let problems: [Problem]

    public var description: String {
        let rest = problems.count - 1
        return "\(problems.first?.description ?? "invalid")" + (rest > 0 ? " (and \(rest) more; see microvm explain)" : "")
    }
}

extension Spec {
    /// Everything that is contradictory, out of range or not supported: what the values of single fields
    /// say against each other, and every field ``Treatment`` refuses or weakens.
    public func problems() -> [Problem] {
        let rules = ruleProblems()
        // A rule knows the value and says more than the table.
        let known = Set(rules.map(\.field))
        return rules
            + treatments().compactMap { finding in
                guard !known.contains(finding.field) else { return nil }
                switch finding.treatment {
                case .refused: return Problem(severity: .error, field: finding.field, message: finding.note)
                case .weakened: return Problem(severity: .warning, field: finding.field, message: finding.note)
                case .guest, .host, .ignored: return nil
                }
            }
    }

    /// What the rules between values find, without the table's verdicts on single fields.
    func ruleProblems() -> [Problem] {
        var validation = Validation(self)
        validation.run()
        return validation.problems
    }

    /// - Returns: the warnings.
    /// - Throws: ``InvalidSpec`` if there is any error.
    @discardableResult
    public func validate() throws(InvalidSpec) -> [Problem] {
        let problems = problems()
        let errors = problems.filter { $0.severity == .error }
        if !errors.isEmpty { throw InvalidSpec(problems: errors) }
        return problems
    }
}

extension Process {
    /// As ``Spec/validate()``, for the process of an `exec`.
    @discardableResult
    public func validate() throws(InvalidSpec) -> [Problem] {
        var spec = Spec()
        spec.process = self
        spec.root = Root(path: "rootfs")
        return try spec.validate().filter { $0.field.hasPrefix("process") }
    }
}

extension LinuxResources {
    /// As ``Spec/validate()``, for the resources of an `update`.
    @discardableResult
    public func validate() throws(InvalidSpec) -> [Problem] {
        var spec = Spec()
        spec.root = Root(path: "rootfs")
        spec.linux = LinuxConfig()
        spec.linux?.resources = self
        return try spec.validate().filter { $0.field.hasPrefix("linux.resources") }
    }
}

/// Whether a name can be a container's: it becomes a directory's name (runc's pattern).
public func isValidContainerID(_ id: String) -> Bool {
    id != "." && id != ".." && (1...1024).contains(id.utf8.count)
        && id.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "_"), UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "-"):
                true
            default: false
            }
        }
}

/// The rules between values, in files by section; each adds what it finds.
struct Validation {
    let spec: Spec
    private(set) var problems: [Problem] = []

    init(_ spec: Spec) {
        self.spec = spec
    }

    mutating func error(_ field: String, _ message: String) {
        problems.append(Problem(severity: .error, field: field, message: message))
    }

    mutating func warning(_ field: String, _ message: String) {
        problems.append(Problem(severity: .warning, field: field, message: message))
    }

    mutating func run() {
        checkTop()
        if let process = spec.process { check(process) }
        for (index, mount) in spec.mounts.enumerated() { check(mount, at: "mounts[\(index)]") }
        if let hooks = spec.hooks { check(hooks) }
        if let linux = spec.linux { check(linux) }
    }

    private mutating func checkTop() {
        if !isVersion1(spec.ociVersion) {
            error("ociVersion", "\"\(spec.ociVersion)\" is not supported; versions 1.x are")
        }
        if let root = spec.root {
            if root.path.isEmpty { error("root.path", "empty") }
        } else {
            error("root", "missing")
        }
        // __NEW_UTS_LEN of linux/utsname.h.
        if spec.hostname.utf8.count > 64 { error("hostname", "longer than 64 bytes") }
        if spec.domainname.utf8.count > 64 { error("domainname", "longer than 64 bytes") }
        if !has(.uts) {
            if !spec.hostname.isEmpty { error("hostname", "needs a namespace of type uts in linux.namespaces") }
            if !spec.domainname.isEmpty { error("domainname", "needs a namespace of type uts in linux.namespaces") }
        }
    }

    func has(_ type: LinuxNamespaceType) -> Bool {
        spec.linux?.namespaces.contains { $0.type == type } ?? false
    }

    private func isVersion1(_ version: String) -> Bool {
        let core = version.prefix { $0 != "-" && $0 != "+" }.split(separator: ".", omittingEmptySubsequences: false)
        return core.count == 3 && core.first == "1" && core.allSatisfy { UInt16($0) != nil }
    }

    private mutating func check(_ hooks: Hooks) {
        for (stage, list) in hooks.byStage {
            for (index, hook) in list.enumerated() {
                let field = "hooks.\(stage)[\(index)]"
                if !hook.path.hasPrefix("/") { error("\(field).path", "\"\(hook.path)\" is not absolute") }
                if let timeout = hook.timeout, timeout <= 0 { error("\(field).timeout", "\(timeout) is not greater than zero") }
                checkEnvironment(hook.env ?? [], at: "\(field).env")
            }
        }
    }

    mutating func checkEnvironment(_ environment: [String], at field: String) {
        for (index, entry) in environment.enumerated() {
            // The entry may be a secret: only its place is named.
            guard let equals = entry.utf8.firstIndex(of: UInt8(ascii: "=")) else {
                error("\(field)[\(index)]", "has no \"=\"")
                continue
            }
            if equals == entry.startIndex { error("\(field)[\(index)]", "has no name before \"=\"") }
        }
    }
}

extension Hooks {
    /// Every stage with its name in the JSON, in the order they run.
    public var byStage: [(stage: String, hooks: [Hook])] {
        [
            ("prestart", prestart), ("createRuntime", createRuntime), ("createContainer", createContainer),
            ("startContainer", startContainer), ("poststart", poststart), ("poststop", poststop),
        ]
    }
}
