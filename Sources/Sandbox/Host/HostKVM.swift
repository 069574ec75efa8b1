import Glibc
public import KVM
import Linux
import OCI

/// This host's `/dev/kvm`, as far as a sandbox needs it.
public enum HostKVM {
    public static let path = "/dev/kvm"
    private static let verdictName = "host.json"

    /// Opens it; the error says in plain words what is in the way.
    public static func open() throws(SandboxError) -> System {
        do throws(SystemError) { return try System() } catch {
            switch error.errno {
            case .noSuchFileOrDirectory, .operationNotSupportedByDevice, .noSuchAddressOrDevice:
                throw SandboxError(.hostUnable, "\(path): not there: no KVM module is loaded, or the machine's firmware or hypervisor does not offer virtualisation")
            case .permissionDenied, .notPermitted:
                throw SandboxError(.noPermission, "\(path): permission denied: \(owner())")
            default:
                throw SandboxError(.hostUnable, "\(path): \(error)")
            }
        }
    }

    /// Who may open it.
    private static func owner() -> String {
        guard let status = try? Descriptor.openPath(path).status() else { return "it cannot be looked at" }
        guard status.st_mode & S_IWGRP != 0 else { return "only user \(status.st_uid) may open it (chgrp kvm \(path) && chmod g+rw \(path))" }
        let group = groupName(status.st_gid) ?? "\(status.st_gid)"
        return "members of group \(group) may open it (usermod -aG \(group) USER, then log in again)"
    }

    private static func groupName(_ id: UInt32) -> String? {
        guard let file = try? Descriptor.open("/etc/group", O_RDONLY), let bytes = try? file.readToEnd(limit: 4 << 20) else { return nil }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count > 2, fields[2] == "\(id)" { return String(fields[0]) }
        }
        return nil
    }

    /// What kind of host this is: from an earlier command since it booted, or found out now and kept.
    public static func verdict(_ system: System, _ root: StateRoot) throws -> HostProbe.Result {
        let boot = bootID()
        if let known = stored(root), known.bootID == boot { return known.result }
        let result: HostProbe.Result
        do throws(SystemError) { result = try HostProbe.run(system) } catch {
            throw SandboxError(.hostUnable, "\(path): virtual machines do not run here: \(error)")
        }
        if let boot { try? store(StoredVerdict(bootID: boot, result), root) }
        return result
    }

    private static func stored(_ root: StateRoot) -> StoredVerdict? {
        guard let file = try? Descriptor.open("\(root.path)/.host/\(verdictName)", O_RDONLY), let bytes = try? file.readToEnd(limit: 4096) else { return nil }
        return try? JSON.decode(from: bytes)
    }

    private static func store(_ verdict: StoredVerdict, _ root: StateRoot) throws {
        try root.makeDirectory(".host").replaceFile(verdictName, with: Array(JSON.encode(verdict).utf8))
    }

    private static func bootID() -> String? {
        guard let file = try? Descriptor.open("/proc/sys/kernel/random/boot_id", O_RDONLY), let bytes = try? file.read(upTo: 64) else { return nil }
        return String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace).first.map(String.init)
    }
}

private struct StoredVerdict: Codable {
    let bootID: String
    let completesPopcnt: Bool
    let instructionsPerSecond: UInt64

    init(bootID: String, _ result: HostProbe.Result) {
        self.bootID = bootID
        completesPopcnt = result.completesPopcnt
        instructionsPerSecond = result.instructionsPerSecond
    }

    var result: HostProbe.Result {
        HostProbe.Result(completesPopcnt: completesPopcnt, instructionsPerSecond: instructionsPerSecond)
    }
}
