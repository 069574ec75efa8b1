/// What `features` prints (features.md, features-linux.md).
public struct Features: Codable, Sendable, Equatable {
    public var ociVersionMin: String
    public var ociVersionMax: String
    public var hooks: [String]
    public var mountOptions: [String]
    public var linux: Linux
    public var annotations: [String: String]
    public var potentiallyUnsafeConfigAnnotations: [String]

    public struct Linux: Codable, Sendable, Equatable {
        public var namespaces: [String]
        public var capabilities: [String]
        public var cgroup: Cgroup
        public var seccomp: Seccomp
        public var apparmor: Switch
        public var selinux: Switch
        public var intelRdt: Switch
        public var memoryPolicy: MemoryPolicy
        public var mountExtensions: MountExtensions
        public var netDevices: Switch
    }

    public struct Cgroup: Codable, Sendable, Equatable {
        public var v1: Bool
        public var v2: Bool
        public var systemd: Bool
        public var systemdUser: Bool
        public var rdma: Bool
    }

    public struct Seccomp: Codable, Sendable, Equatable {
        public var enabled: Bool
        public var actions: [String]
        public var operators: [String]
        public var archs: [String]
        public var knownFlags: [String]
        public var supportedFlags: [String]
    }

    public struct MemoryPolicy: Codable, Sendable, Equatable {
        public var modes: [String]
        public var flags: [String]
    }

    public struct MountExtensions: Codable, Sendable, Equatable {
        public var idmap: Switch
    }

    public struct Switch: Codable, Sendable, Equatable {
        public var enabled: Bool
    }
}

extension Features {
    /// This runtime's, read off the same table that validation refuses by.
    ///
    /// - Parameter annotations: what else is to be told, such as the runtime's version.
    public static func current(annotations: [String: String]) -> Features {
        Features(
            ociVersionMin: "1.0.0", ociVersionMax: Spec.version,
            hooks: Hooks().byStage.map(\.stage).filter { stage in accepts("hooks.\(stage)[].path", "/hook") },
            mountOptions: MountOption.names,
            linux: Linux(
                namespaces: names(LinuxNamespaceType.self, "linux.namespaces[].type"),
                capabilities: Capability.names,
                // Values written for v1 are converted; a v1 hierarchy there is not.
                cgroup: Cgroup(
                    v1: false, v2: true, systemd: false, systemdUser: false, rdma: accepts("linux.resources.rdma.mlx.hcaHandles", 1)),
                seccomp: Seccomp(
                    enabled: accepts("linux.seccomp.defaultAction", "SCMP_ACT_ERRNO"),
                    actions: names(LinuxSeccompAction.self, "linux.seccomp.defaultAction"),
                    operators: LinuxSeccompOperator.allCases.map(\.rawValue).sorted(),
                    archs: LinuxSeccompArch.allCases.map(\.rawValue).sorted(),
                    knownFlags: LinuxSeccompFlag.allCases.map(\.rawValue).sorted(),
                    supportedFlags: names(LinuxSeccompFlag.self, "linux.seccomp.flags[]")),
                apparmor: Switch(enabled: accepts("process.apparmorProfile", "profile")),
                selinux: Switch(enabled: accepts("process.selinuxLabel", "label")),
                intelRdt: Switch(enabled: accepts("linux.intelRdt.closID", "class")),
                memoryPolicy: MemoryPolicy(modes: [], flags: []),
                mountExtensions: MountExtensions(idmap: Switch(enabled: accepts("mounts[].uidMappings[].size", 1))),
                netDevices: Switch(enabled: accepts("linux.netDevices.eth0.name", "eth0"))),
            annotations: annotations, potentiallyUnsafeConfigAnnotations: [])
    }

    private static func names<K: Keyword>(_ type: K.Type, _ field: String) -> [String] {
        K.allCases.map(\.rawValue).filter { accepts(field, $0) }.sorted()
    }

    private static func accepts(_ field: String, _ value: String) -> Bool { accepts(field, .string(value)) }
    private static func accepts(_ field: String, _ value: Int) -> Bool { accepts(field, .number("\(value)")) }

    /// Whether a document with just this field has no row that refuses it.
    private static func accepts(_ field: String, _ value: JSON.Content) -> Bool {
        var content = value
        for step in FieldPattern(field).steps.reversed() {
            if step == "[]" {
                content = .array([JSON.Value(content)])
            } else {
                var object = JSON.Object()
                _ = object.append(step, JSON.Value(content))
                content = .object(object)
            }
        }
        return !treatments(of: JSON.Value(content)).contains { $0.treatment == .refused }
    }
}
