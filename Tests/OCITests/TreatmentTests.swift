import Testing

@testable import OCI

struct TreatmentTests {
    @Test("every field of the types has a row in the table")
    func everyFieldHasARow() throws {
        let spec: Spec = try decode(allFields)
        let unknown = spec.treatments().filter { $0.note == "this version does not know the field" }
        #expect(unknown.map(\.field) == [])
        #expect(Set(leaves(try JSON.value(of: spec))).count > 150)
    }

    @Test("every row of the table is about a field of the types")
    func everyRowHasAField() throws {
        let known = Set(prefixes(of: try JSON.value(of: try decode(allFields) as Spec)))
        for row in treatmentRows { #expect(known.contains(row.pattern.steps), "\(row.pattern.steps)") }
    }

    @Test("a field without a row is refused by name, never ignored")
    func unlistedField() throws {
        let findings = treatments(of: try JSON.read(Array(#"{"linux": {"future": [1]}}"#.utf8)))
        #expect(findings.map(\.field) == ["linux.future[0]"])
        #expect(findings.map(\.treatment) == [.refused])
    }

    @Test("each refused field alone makes the spec invalid, and by its name")
    func refusedFieldsAreRefused() throws {
        let everything: Spec = try decode(allFields)
        let refused = everything.treatments().filter { $0.treatment == .refused }
        #expect(refused.count > 12)
        for finding in refused {
            let errors = everything.problems().filter { $0.severity == .error && $0.field == finding.field }
            #expect(!errors.isEmpty, "\(finding.field)")
        }
    }

    @Test("features lists nothing that a spec is refused for")
    func featuresAgree() throws {
        let features = Features.current(annotations: [:])
        for action in LinuxSeccompAction.allCases {
            var spec = Spec.template()
            spec.linux?.seccomp = LinuxSeccomp(defaultAction: action)
            let refused = spec.problems().contains { $0.field == "linux.seccomp.defaultAction" }
            #expect(features.linux.seccomp.actions.contains(action.rawValue) == !refused)
        }
        for type in LinuxNamespaceType.allCases { #expect(features.linux.namespaces.contains(type.rawValue)) }
        #expect(features.hooks == ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"])
        #expect(!features.linux.seccomp.supportedFlags.contains("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"))
        #expect(!features.linux.apparmor.enabled)
        #expect(!features.linux.netDevices.enabled)
        #expect(!features.linux.cgroup.rdma)
        #expect(features.mountOptions.contains("rro") && features.mountOptions.contains("bind"))
    }

    @Test("the value decides where the table says so", arguments: [
        ("process.apparmorProfile", "unconfined", Treatment.guest),
        ("process.apparmorProfile", "docker-default", .weakened),
        ("process.apparmorProfile", "containers-default-0.44.0", .weakened),
        ("process.apparmorProfile", "mine", .refused),
        ("process.selinuxLabel", "system_u:system_r:container_t:s0:c1,c2", .weakened),
        ("process.selinuxLabel", "system_u:system_r:mine_t:s0", .refused),
        ("linux.mountLabel", "system_u:object_r:container_file_t:s0:c1", .weakened),
    ])
    func valueDecides(field: String, value: String, expected: Treatment) throws {
        let parts = field.split(separator: ".")
        let findings = treatments(of: try JSON.read(Array("{\"\(parts[0])\": {\"\(parts[1])\": \"\(value)\"}}".utf8)))
        #expect(findings.map(\.treatment) == [expected])
    }

    @Test("zeros and -1 among the resources ask for nothing")
    func unsetResources() throws {
        let spec: Spec = try decode(
            #"""
            {"ociVersion": "1.0.0", "root": {"path": "r"}, "linux": {"resources": {
                "memory": {"limit": 0, "kernel": -1, "kernelTCP": 0, "disableOOMKiller": false},
                "cpu": {"shares": 0, "realtimeRuntime": 0, "realtimePeriod": 0}, "network": {}, "blockIO": {"weight": 0}}}}
            """#)
        #expect(spec.treatments().map(\.field) == ["ociVersion", "root.path"])
    }

    @Test("what the types have no field for is listed as ignored")
    func unknownFields() throws {
        let text = #"""
            {"ociVersion": "1.2.0", "windows": {"ignoreFlushesDuringBoot": true}, "colour": "red", "empty": [],
             "process": {"cwd": "/", "commandLine": "dir", "user": {"uid": 0, "username": "me"}},
             "mounts": [{"destination": "/a"}, {"destination": "/b", "depth": 1}]}
            """#
        let spec: Spec = try decode(text)
        let findings = spec.unknownFields(in: try JSON.read(Array(text.utf8)))
        #expect(findings.map { "\($0.field): \($0.note)" } == [
            "windows: for another platform", "colour: unknown property", "process.commandLine: for another platform",
            "process.user.username: for another platform", "mounts[1].depth: unknown property",
        ])
        #expect(findings.allSatisfy { $0.treatment == .ignored })
    }

    @Test("an explanation tells no value of the environment")
    func noSecrets() throws {
        let document = try JSON.read(Array(allFields.utf8))
        let spec: Spec = try JSON.decode(from: document)
        let text = spec.explanation(of: document).map { "\($0.field) \($0.value) \($0.note)" }.joined(separator: "\n")
        #expect(text.contains("TOKEN=…"))
        #expect(!text.contains("s3cret"))
        #expect(!"\(spec)".contains("s3cret"))
        #expect(!String(reflecting: spec).contains("s3cret"))
        var dumped = ""
        dump(spec, to: &dumped)
        #expect(!dumped.contains("s3cret"))
    }

    @Test("the default spec is honoured entirely")
    func templateIsHonoured() {
        #expect(Spec.template().problems() == [])
        #expect(Spec.rootlessTemplate(uid: 1000, gid: 1000).problems() == [])
        #expect(Spec.template().treatments().filter { !$0.treatment.isHonoured } == [])
    }
}

/// Paths of everything that has no members, as the table spells them.
private func leaves(_ value: JSON.Value) -> [[String]] {
    prefixes(of: value).filter { path in !path.isEmpty }
}

private func prefixes(of value: JSON.Value, _ path: [String] = []) -> [[String]] {
    var all = [path]
    switch value.content {
    case .object(let object):
        for member in object.members { all += prefixes(of: member.value, path + [member.key]) }
    case .array(let elements):
        for element in elements { all += prefixes(of: element, path + ["[]"]) }
    default: break
    }
    return all
}
