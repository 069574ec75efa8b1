import CLinux
import Linux
import OCI

/// What the options of one `mounts` entry come to, in the kernel's terms (config.md, Linux mount options).
struct MountPlan: Equatable {
    /// For mount(2) of a file system or a remount.
    var flags: UInt64 = 0
    /// `MOUNT_ATTR_*` to set and to clear, of the mount itself and of all below it.
    var attributes = Attributes()
    var recursiveAttributes = Attributes()
    /// `MountFlag.shared` and its like, with or without `MountFlag.recursive`, in the order given.
    var propagation: [UInt64] = []
    var data: [String] = []
    var isRecursive = false
    var isRemount = false
    var copiesUp = false

    struct Attributes: Equatable {
        var set: UInt64 = 0
        var clear: UInt64 = 0

        var isEmpty: Bool { self.set == 0 && self.clear == 0 }
    }

    /// Whether all is said by ``attributes`` and ``data``.
    var hasOnlyAttributes: Bool {
        propagation.isEmpty && recursiveAttributes.isEmpty && !isRemount && !copiesUp && flags & ~Self.attributeFlags == 0
    }

    init(_ options: [String]) {
        for option in options { apply(option) }
    }

    private mutating func apply(_ option: String) {
        switch option {
        case "bind", "defaults", "idmap", "ridmap": break
        case "rbind": isRecursive = true
        case "remount": isRemount = true
        case "tmpcopyup": copiesUp = true
        default:
            if let attribute = Self.attributes[option] {
                attribute.change(&attributes)
                attribute.change(&flags)
            } else if option.hasPrefix("r"), let attribute = Self.attributes[String(option.dropFirst())] {
                attribute.change(&recursiveAttributes)
            } else if let kind = Self.propagations[option] {
                propagation.append(kind)
            } else if option.hasPrefix("r"), let kind = Self.propagations[String(option.dropFirst())] {
                propagation.append(kind | MountFlag.recursive)
            } else if let (flag, on) = Self.superblock[option] {
                flags = on ? flags | flag : flags & ~flag
            } else {
                data.append(option)
            }
        }
    }

    /// An attribute of a mount: its bit for mount_setattr(2) and its flag for mount(2).
    private struct Attribute {
        var bits: UInt64
        var flag: UInt64
        var on = true
        /// The access time bits are one value, not bits of their own.
        var isAccessTime = false

        func change(_ attributes: inout Attributes) {
            let mask = isAccessTime ? UInt64(MOUNT_ATTR__ATIME) : bits
            attributes.set &= ~mask
            if on { attributes.set |= bits }
            if isAccessTime || !on { attributes.clear |= mask }
            if !isAccessTime, on { attributes.clear &= ~bits }
        }

        func change(_ flags: inout UInt64) {
            if isAccessTime { flags &= ~Self.accessTimeFlags }
            flags = on ? flags | flag : flags & ~flag
        }

        private static let accessTimeFlags = MountFlag.noAccessTime | MountFlag.relativeAccessTime | MountFlag.strictAccessTime
    }

    private static let attributes: [String: Attribute] = {
        let pairs: [(on: String, off: String, bits: Int, flag: UInt64)] = [
            ("ro", "rw", Int(MOUNT_ATTR_RDONLY), MountFlag.readOnly),
            ("nosuid", "suid", Int(MOUNT_ATTR_NOSUID), MountFlag.noSetUserID),
            ("nodev", "dev", Int(MOUNT_ATTR_NODEV), MountFlag.noDevices),
            ("noexec", "exec", Int(MOUNT_ATTR_NOEXEC), MountFlag.noExecution),
            ("nodiratime", "diratime", Int(MOUNT_ATTR_NODIRATIME), MountFlag.noDirectoryAccessTime),
            ("nosymfollow", "symfollow", Int(MOUNT_ATTR_NOSYMFOLLOW), MountFlag.noSymlinks),
        ]
        var table: [String: Attribute] = [:]
        for pair in pairs {
            table[pair.on] = Attribute(bits: UInt64(pair.bits), flag: pair.flag)
            table[pair.off] = Attribute(bits: UInt64(pair.bits), flag: pair.flag, on: false)
        }
        let relative = Attribute(bits: UInt64(MOUNT_ATTR_RELATIME), flag: MountFlag.relativeAccessTime, isAccessTime: true)
        for name in ["relatime", "atime", "nostrictatime"] { table[name] = relative }
        table["noatime"] = Attribute(bits: UInt64(MOUNT_ATTR_NOATIME), flag: MountFlag.noAccessTime, isAccessTime: true)
        let strict = Attribute(bits: UInt64(MOUNT_ATTR_STRICTATIME), flag: MountFlag.strictAccessTime, isAccessTime: true)
        for name in ["strictatime", "norelatime"] { table[name] = strict }
        return table
    }()

    /// Flags of mount(2) that are a mount's, not its file system's.
    private static let attributeFlags =
        MountFlag.readOnly | MountFlag.noSetUserID | MountFlag.noDevices | MountFlag.noExecution | MountFlag.noSymlinks
        | MountFlag.noAccessTime | MountFlag.noDirectoryAccessTime | MountFlag.relativeAccessTime | MountFlag.strictAccessTime

    private static let propagations: [String: UInt64] = [
        "private": MountFlag.private, "shared": MountFlag.shared, "slave": MountFlag.slave,
        "unbindable": MountFlag.unbindable,
    ]

    private static let superblock: [String: (flag: UInt64, on: Bool)] = [
        "sync": (MountFlag.synchronous, true), "async": (MountFlag.synchronous, false),
        "dirsync": (MountFlag.synchronousDirectories, true),
        "mand": (MountFlag.mandatoryLocks, true), "nomand": (MountFlag.mandatoryLocks, false),
        "acl": (MountFlag.accessLists, true), "noacl": (MountFlag.accessLists, false),
        "iversion": (MountFlag.versions, true), "noiversion": (MountFlag.versions, false),
        "silent": (MountFlag.silent, true), "loud": (MountFlag.silent, false),
        "lazytime": (MountFlag.lazyTimes, true), "nolazytime": (MountFlag.lazyTimes, false),
    ]
}

extension MountPlan.Attributes {
    /// What makes a mount that has `present` set have `wanted` instead.
    init(from present: UInt64, to wanted: UInt64) {
        // Of access times the kernel takes a whole value only, and only with all its bits cleared.
        let accessTime = UInt64(MOUNT_ATTR__ATIME)
        let changesAccessTime = (present ^ wanted) & accessTime != 0
        self.init(
            set: wanted & ~present & ~accessTime | (changesAccessTime ? wanted & accessTime : 0),
            clear: present & ~wanted & ~accessTime | (changesAccessTime ? accessTime : 0))
    }
}
