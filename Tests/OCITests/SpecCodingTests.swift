import Testing

@testable import OCI

struct SpecCodingTests {
    @Test("a config with every field survives decoding and encoding unchanged, member by member in order")
    func roundTrip() throws {
        let document = try JSON.read(Array(allFields.utf8))
        let spec: Spec = try JSON.decode(from: document)
        #expect(try JSON.value(of: spec) == document)
        let again: Spec = try JSON.decode(from: Array(try JSON.encode(spec, .pretty).utf8))
        #expect(again == spec)
    }

    @Test("fields that are left out, null or empty mean the same")
    func emptyFields() throws {
        let absent: Spec = try decode(#"{"ociVersion": "1.0.0"}"#)
        let null: Spec = try decode(
            #"{"ociVersion": "1.0.0", "process": null, "hostname": null, "mounts": null, "annotations": null, "linux": null}"#)
        let empty: Spec = try decode(#"{"ociVersion": "1.0.0", "hostname": "", "mounts": [], "annotations": {}}"#)
        #expect(absent == null)
        #expect(absent == empty)
        #expect(try JSON.encode(absent) == #"{"ociVersion":"1.0.0"}"#)
    }

    @Test("properties nobody knows are ignored, at every level")
    func unknownProperties() throws {
        let spec: Spec = try decode(#"{"ociVersion": "1.2.0", "future": [1, {"a": null}], "root": {"path": "r", "colour": "red"}}"#)
        #expect(spec.root == Root(path: "r"))
    }

    @Test("vm.hwconfig, as Go writes it, is vm.hwConfig")
    func hwConfigSpelling() throws {
        let spec: Spec = try decode(#"{"ociVersion": "1.3.0", "vm": {"kernel": {"path": "/k"}, "hwconfig": {"vcpus": 3}}}"#)
        #expect(spec.vm?.hwConfig == HWConfig(vcpus: 3))
    }

    @Test("a wrong type or value is reported by its field and line", arguments: [
        (#"{"process": {}}"#, "line 1, column 1: ociVersion: missing"),
        (#"{"ociVersion": 1}"#, "line 1, column 16: ociVersion: want string, is number"),
        ("{\"ociVersion\": \"1\",\n\"process\": {\"cwd\": \"/\", \"rlimits\": [{\"type\": \"RLIMIT_CPU\", \"hard\": \"x\", \"soft\": 1}]}}",
            "line 2, column 68: process.rlimits[0].hard: want number, is string"),
        (#"{"ociVersion": "1.2.0", "process": {"cwd": "/", "rlimits": [{"type": "RLIMIT_X", "hard": 1, "soft": 1}]}}"#,
            "line 1, column 70: process.rlimits[0].type: unknown value \"RLIMIT_X\"; known: "),
        (#"{"ociVersion": "1.2.0", "process": {"cwd": "/", "user": {"uid": -1}}}"#,
            "line 1, column 65: process.user.uid: -1 is out of range 0...4294967295"),
        (#"{"ociVersion": "1.2.0", "process": {"cwd": "/", "user": {"uid": 1.5}}}"#,
            "line 1, column 65: process.user.uid: want a whole number, is 1.5"),
        (#"{"ociVersion": "1.2.0", "process": {"args": ["a"]}}"#, "line 1, column 36: process.cwd: missing"),
        (#"{"ociVersion": "1.2.0", "process": {"cwd": "/\u0000etc"}}"#, "line 1, column 44: process.cwd: contains a NUL character"),
        (#"{"ociVersion": "1.2.0", "linux": {"sysctl": {"a.b": 1}}}"#,
            "line 1, column 53: linux.sysctl[\"a.b\"]: want string, is number"),
        (#"{"ociVersion": "1.2.0", "mounts": {}}"#, "line 1, column 35: mounts: want array, is object"),
        (#"{"ociVersion": "1.2.0", "root": []}"#, "line 1, column 33: root: want object, is array"),
        (#"{"ociVersion": "1.2.0", "linux": {"namespaces": [{"type": "disk"}]}}"#,
            "linux.namespaces[0].type: unknown value \"disk\"; known: pid, network, mount, ipc, uts, user, cgroup, time"),
        ("[]", "line 1, column 1: want object, is array"),
    ])
    func wrongFields(text: String, expected: String) {
        #expect {
            let _: Spec = try decode(text)
        } throws: { error in
            let ok = "\(error)".contains(expected)
            if !ok { Issue.record("got: \(error)") }
            return ok
        }
    }

    @Test("a big config cut off anywhere is refused with a place, and never read as a smaller one")
    func truncations() throws {
        let bytes = Array(allFields.utf8)
        for length in 0..<(bytes.count - 1) {
            #expect(throws: JSON.Error.self) { try JSON.read(Array(bytes[..<length])) }
        }
    }

    @Test("a byte changed anywhere gives a spec or an error, nothing else")
    func corruptions() throws {
        let bytes = Array(allFields.utf8)
        for place in stride(from: 0, to: bytes.count, by: 13) {
            for byte: UInt8 in [0x00, 0x22, 0x5C, 0x7B, 0x30, 0xFF] {
                var changed = bytes
                changed[place] = byte
                do throws(JSON.Error) {
                    let _: Spec = try JSON.decode(from: changed)
                } catch {
                    #expect(error.position != nil)
                }
            }
        }
    }

    @Test(
        "the caller's groups, when the annotation asks for them, by the container's mappings",
        arguments: [
            ("1", [], [7, 1005]), ("0", [], nil), (nil, [], nil),
            ("1", [LinuxIDMapping(containerID: 0, hostID: 1000, size: 5), LinuxIDMapping(containerID: 50, hostID: 1005, size: 1)], [50]),
        ] as [(String?, [LinuxIDMapping], [UInt32]?)])
    func originalGroups(annotation: String?, mappings: [LinuxIDMapping], wanted: [UInt32]?) {
        var spec = Spec()
        spec.annotations["run.oci.keep_original_groups"] = annotation
        spec.linux = LinuxConfig()
        spec.linux?.gidMappings = mappings
        #expect(spec.originalGroups([7, 1005]) == wanted)
    }
}

func decode<T: Decodable>(_ text: String) throws -> T {
    try JSON.decode(from: Array(text.utf8))
}
