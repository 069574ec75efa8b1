/// Whose a bind mount's files are: ids as the source has them (`containerID`) and as the container's kernel sees them (`hostID`).
public struct MountIDMap: Codable, Sendable, Equatable {
    public let uids: [LinuxIDMapping]
    public let gids: [LinuxIDMapping]
    /// Of what is mounted below the source, too.
    public let isRecursive: Bool
}

extension Mount {
    /// By maps of its own, by crun's option `idmap=uids=FROM-TO-LENGTH#…;gids=…`, or with `idmap` alone by the container's; nil: its ids are as they are.
    ///
    /// - Throws: an option that is no map, or that needs a map the container does not have. The field is `options`.
    public func idMap(_ linux: LinuxConfig?) throws(InvalidField) -> MountIDMap? {
        let option = options.first { Self.isIDMapOption($0) }
        guard option != nil || !uidMappings.isEmpty else { return nil }
        let isRecursive = options.contains("rbind") || option?.hasPrefix("r") == true
        if !uidMappings.isEmpty { return MountIDMap(uids: uidMappings, gids: gidMappings, isRecursive: isRecursive) }
        var maps = ["uids": linux?.uidMappings ?? [], "gids": linux?.gidMappings ?? []]
        let containers = maps
        for part in option?.split(separator: "=", maxSplits: 1).dropFirst().first?.split(separator: ";") ?? [] {
            let words = part.split(separator: "=", maxSplits: 1).map(String.init)
            guard words.count == 2, let ids = containers[words[0]], let map = Self.ranges(words[1], in: ids) else {
                throw InvalidField("options", "\"\(part)\" is no map of ids: uids=FROM-TO-LENGTH#… or gids=…")
            }
            maps[words[0]] = map
        }
        guard let uids = maps["uids"], let gids = maps["gids"], !uids.isEmpty, !gids.isEmpty else {
            throw InvalidField("options", "idmap without uidMappings needs a namespace of type user")
        }
        return MountIDMap(uids: uids, gids: gids, isRecursive: isRecursive)
    }

    /// Whether a mount's option says how its ids are mapped.
    public static func isIDMapOption(_ option: String) -> Bool { ["idmap", "ridmap"].contains(option.prefix { $0 != "=" }) }

    /// With `@` before it a range's TO is an id in the container.
    private static func ranges(_ text: String, in container: [LinuxIDMapping]) -> [LinuxIDMapping]? {
        var ranges: [LinuxIDMapping] = []
        for range in text.split(separator: "#") {
            let isRelative = range.hasPrefix("@")
            let numbers = range.drop { $0 == "@" }.split(separator: "-", omittingEmptySubsequences: false).compactMap { UInt32($0) }
            guard numbers.count == 3 else { return nil }
            guard isRelative else {
                ranges.append(LinuxIDMapping(containerID: numbers[0], hostID: numbers[1], size: numbers[2]))
                continue
            }
            guard let base = container.first(where: { numbers[0] >= $0.containerID && numbers[0] - $0.containerID < $0.size }),
                let target = UInt32(exactly: Int64(numbers[1]) + Int64(base.hostID) - Int64(base.containerID))
            else { return nil }
            ranges.append(LinuxIDMapping(containerID: numbers[0], hostID: target, size: numbers[2]))
        }
        return ranges
    }
}

extension [LinuxIDMapping] {
    /// As the lines of `/proc/PID/uid_map`.
    public var lines: String { map { "\($0.containerID) \($0.hostID) \($0.size)\n" }.joined() }
}
