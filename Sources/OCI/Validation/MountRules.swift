extension Mount {
    /// config.md: "A mount is a bind mount if it has either bind or rbind in the options"; docker also
    /// writes the type.
    public var isBind: Bool { type == "bind" || options.contains("bind") || options.contains("rbind") }

    /// The destination from the container's root on: absolute, without `.`, `..` and double slashes.
    public var normalizedDestination: String {
        var parts: [Substring] = []
        for part in destination.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }
}

extension Validation {
    mutating func check(_ mount: Mount, at field: String) {
        if mount.destination.isEmpty { error("\(field).destination", "empty") }
        if !mount.destination.hasPrefix("/") {
            warning("\(field).destination", "\"\(mount.destination)\" is taken from /; relative destinations are deprecated")
        }
        if mount.isBind {
            checkBind(mount, at: field)
        } else if !mount.options.contains("remount") {
            checkFileSystem(mount, at: field)
        }
        checkIDMap(mount, at: field)
        checkProc(mount, at: field)
        if mount.options.contains("tmpcopyup"), mount.type != "tmpfs" { error("\(field).options", "tmpcopyup is for tmpfs") }
    }

    private mutating func checkBind(_ mount: Mount, at field: String) {
        if mount.source.isEmpty { error("\(field).source", "a bind mount needs one") }
        // The kernel takes no notice of them (mount(2), MS_BIND), and runc leaves it at that.
        for option in mount.options where MountOption.isFileSystemData(option) {
            warning("\(field).options", "\"\(option)\" is no option of a bind mount")
        }
    }

    private mutating func checkFileSystem(_ mount: Mount, at field: String) {
        guard let known = FileSystemType.options[mount.type] else {
            let all = FileSystemType.options.keys.sorted().joined(separator: ", ")
            error("\(field).type", mount.type.isEmpty ? "missing" : "the guest mounts no \"\(mount.type)\"; it mounts bind, \(all)")
            return
        }
        guard let known else { return }
        for option in mount.options where MountOption.isFileSystemData(option) {
            let key = String(option.prefix { $0 != "=" })
            if !known.contains(key) { error("\(field).options", "\"\(option)\" is no option of \(mount.type)") }
        }
    }

    private mutating func checkIDMap(_ mount: Mount, at field: String) {
        if mount.uidMappings.isEmpty != mount.gidMappings.isEmpty {
            error(mount.uidMappings.isEmpty ? "\(field).uidMappings" : "\(field).gidMappings", "missing beside the other mapping")
        }
        check(mount.uidMappings, at: "\(field).uidMappings")
        check(mount.gidMappings, at: "\(field).gidMappings")
        do throws(InvalidField) {
            guard try mount.idMap(spec.linux) != nil else { return }
            if !mount.isBind { error("\(field).options", "only a bind mount can have its ids mapped") }
        } catch {
            self.error("\(field).\(error.field)", error.reason)
        }
    }

    /// Whoever can mount over /proc can answer for the kernel (CVE-2019-16884): only runc's list of
    /// files that resource views such as lxcfs replace.
    private mutating func checkProc(_ mount: Mount, at field: String) {
        let destination = mount.normalizedDestination
        guard destination.hasPrefix("/proc/") else { return }
        let allowed: Set = [
            "cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo", "net/dev", "sys/kernel/ns_last_pid",
            "sys/crypto/fips_enabled",
        ]
        if !allowed.contains(String(destination.dropFirst("/proc/".count))) {
            error("\(field).destination", "\(destination) is inside /proc")
        }
    }

    /// user_namespaces(7), Defining user and group ID mappings.
    mutating func check(_ mappings: [LinuxIDMapping], at field: String) {
        if mappings.count > 340 { error(field, "more than 340 ranges") }
        for (index, range) in mappings.enumerated() {
            if range.size == 0 { error("\(field)[\(index)].size", "zero") }
            if range.containerID.addingReportingOverflow(range.size).overflow || range.hostID.addingReportingOverflow(range.size).overflow {
                error("\(field)[\(index)].size", "\(range.size) reaches past the last id")
            }
            for other in mappings[..<index] where overlaps(range.containerID, other.containerID, range.size, other.size) {
                error("\(field)[\(index)].containerID", "\(range.containerID) is mapped twice")
            }
            for other in mappings[..<index] where overlaps(range.hostID, other.hostID, range.size, other.size) {
                error("\(field)[\(index)].hostID", "\(range.hostID) is mapped twice")
            }
        }
    }

    private func overlaps(_ a: UInt32, _ b: UInt32, _ aSize: UInt32, _ bSize: UInt32) -> Bool {
        UInt64(a) < UInt64(b) + UInt64(bSize) && UInt64(b) < UInt64(a) + UInt64(aSize)
    }
}
