extension Validation {
    mutating func check(_ linux: LinuxConfig) {
        checkNamespaces(linux)
        checkIDMappings(linux)
        checkTimeOffsets(linux)
        for name in linux.sysctl.keys.sorted() { checkSysctl(name) }
        if linux.cgroupsPath.split(separator: "/").contains("..") { error("linux.cgroupsPath", "leaves the cgroup mount with \"..\"") }
        for (name, paths) in [("maskedPaths", linux.maskedPaths), ("readonlyPaths", linux.readonlyPaths)] {
            for (index, path) in paths.enumerated() where !path.hasPrefix("/") {
                error("linux.\(name)[\(index)]", "\"\(path)\" is not absolute")
            }
        }
        for (index, device) in linux.devices.enumerated() { check(device, before: linux.devices[..<index], at: "linux.devices[\(index)]") }
        if let resources = linux.resources { check(resources) }
        if let seccomp = linux.seccomp { check(seccomp) }
    }

    private mutating func checkNamespaces(_ linux: LinuxConfig) {
        for (index, namespace) in linux.namespaces.enumerated() {
            let field = "linux.namespaces[\(index)]"
            if linux.namespaces[..<index].contains(where: { $0.type == namespace.type }) {
                error("\(field).type", "second namespace of type \(namespace.type.rawValue)")
            }
            if !namespace.path.isEmpty, !namespace.path.hasPrefix("/") { error("\(field).path", "\"\(namespace.path)\" is not absolute") }
        }
        for type in [LinuxNamespaceType.pid, .ipc] where !has(type) {
            warning("linux.namespaces", "without type \(type.rawValue) the container shares the virtual machine's, not the host's")
        }
        if !has(.network) {
            warning("linux.namespaces", "without type network the container has a loopback interface only: the host's interfaces stay the host's")
        }
    }

    private mutating func checkIDMappings(_ linux: LinuxConfig) {
        check(linux.uidMappings, at: "linux.uidMappings")
        check(linux.gidMappings, at: "linux.gidMappings")
        guard let user = linux.namespaces.first(where: { $0.type == .user }) else {
            if !linux.uidMappings.isEmpty { error("linux.uidMappings", "needs a namespace of type user in linux.namespaces") }
            if !linux.gidMappings.isEmpty { error("linux.gidMappings", "needs a namespace of type user in linux.namespaces") }
            return
        }
        guard user.path.isEmpty else { return }
        if linux.uidMappings.isEmpty { error("linux.uidMappings", "missing for the new user namespace") }
        if linux.gidMappings.isEmpty { error("linux.gidMappings", "missing for the new user namespace") }
        guard let identity = spec.process?.user else { return }
        if !linux.uidMappings.isEmpty, !linux.uidMappings.contains(where: { $0.contains(identity.uid) }) {
            error("process.user.uid", "\(identity.uid) is not in linux.uidMappings")
        }
        if !linux.gidMappings.isEmpty, !linux.gidMappings.contains(where: { $0.contains(identity.gid) }) {
            error("process.user.gid", "\(identity.gid) is not in linux.gidMappings")
        }
    }

    private mutating func checkTimeOffsets(_ linux: LinuxConfig) {
        if linux.timeOffsets.isEmpty { return }
        guard let time = linux.namespaces.first(where: { $0.type == .time }) else {
            return error("linux.timeOffsets", "needs a namespace of type time in linux.namespaces")
        }
        if !time.path.isEmpty { error("linux.timeOffsets", "cannot change the existing namespace \(time.path)") }
        for (clock, offset) in linux.timeOffsets.sorted(by: { $0.key < $1.key }) {
            if clock != "monotonic" && clock != "boottime" {
                error("linux.timeOffsets.\(clock)", "unknown clock; known: monotonic, boottime")
            }
            if (offset.nanosecs ?? 0) > 999_999_999 { error("linux.timeOffsets.\(clock).nanosecs", "more than a second") }
        }
    }

    /// The guest's kernel is the container's own, so even those of the whole kernel may be set. Those of a namespace need
    /// one, as with runc: without it they would be meant for the host.
    private mutating func checkSysctl(_ name: String) {
        let field = FieldPath([.key("linux"), .key("sysctl"), .key(name)]).description
        let parts = name.split(omittingEmptySubsequences: false) { $0 == "." || $0 == "/" }
        let plain = name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        // "..": an empty part, so that no name climbs out of /proc/sys.
        if !plain || parts.count < 2 || parts.contains("") { error(field, "is no name of a sysctl") }
        if let type = Self.namespace(of: parts), !has(type) { error(field, "needs a namespace of type \(type.rawValue) in linux.namespaces") }
        if parts == ["kernel", "hostname"] { error(field, spec.hostname.isEmpty ? "give hostname instead" : "contradicts hostname") }
        if !spec.domainname.isEmpty, parts == ["kernel", "domainname"], spec.linux?.sysctl[name] != spec.domainname { error(field, "contradicts domainname") }
    }

    /// namespaces(7).
    private static func namespace(of parts: [Substring]) -> LinuxNamespaceType? {
        let ofIPC: Set<Substring> = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"]
        return switch (parts.first, parts.dropFirst().first) {
        case ("net", _): .network
        case ("fs", "mqueue"): .ipc
        case ("kernel", let name?) where ofIPC.contains(name): .ipc
        case ("kernel", "domainname"): .uts
        default: nil
        }
    }

    private mutating func check(_ device: LinuxDevice, before: ArraySlice<LinuxDevice>, at field: String) {
        if !device.path.hasPrefix("/") { error("\(field).path", "\"\(device.path)\" is not absolute") }
        // config-linux.md, Devices: "The same path MUST NOT be used for more than one device" by implication
        // of "if a file already exists at path that does not match … an error".
        if before.contains(where: { $0.path == device.path && $0 != device }) {
            error("\(field).path", "\"\(device.path)\" is another device already")
        }
        if device.type != .fifo {
            // MINORBITS of linux/kdev_t.h.
            checkNumber(device.major, below: 1 << 12, at: "\(field).major")
            checkNumber(device.minor, below: 1 << 20, at: "\(field).minor")
        }
        // Permission bits, to which docker adds the file type's.
        if let mode = device.fileMode, mode > 0o177777 { error("\(field).fileMode", "\(mode) is no file mode") }
    }

    private mutating func checkNumber(_ number: Int64?, below limit: Int64, at field: String) {
        guard let number else { return error(field, "missing") }
        if !(0..<limit).contains(number) { error(field, "\(number) is out of range 0...\(limit - 1)") }
    }
}

extension LinuxIDMapping {
    fileprivate func contains(_ id: UInt32) -> Bool {
        id >= containerID && id - containerID < size
    }
}
