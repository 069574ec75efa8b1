/// Mount options every file system has (config.md, Linux mount options). What is in none of these lists
/// is an option of the file system itself.
public enum MountOption {
    /// Attributes of one mount.
    static let attributes = [
        "atime", "dev", "diratime", "exec", "noatime", "nodev", "nodiratime", "noexec", "norelatime", "nostrictatime", "nosuid",
        "nosymfollow", "relatime", "ro", "rw", "strictatime", "suid", "symfollow",
    ]
    static let propagations = ["private", "shared", "slave", "unbindable"]
    static let superblock = [
        "acl", "async", "dirsync", "iversion", "lazytime", "loud", "mand", "noacl", "noiversion", "nolazytime", "nomand", "silent", "sync",
    ]
    static let special = ["bind", "defaults", "idmap", "rbind", "remount", "ridmap", "tmpcopyup"]

    /// Every option that is no file system's own, sorted.
    public static let names: [String] =
        (attributes + attributes.map { "r" + $0 } + propagations + propagations.map { "r" + $0 } + superblock + special).sorted()

    private static let known = Set(names)

    /// Whether this is data for the file system rather than a flag of the mount.
    static func isFileSystemData(_ option: String) -> Bool { !known.contains(option) && !Mount.isIDMapOption(option) }
}

/// File systems a spec may ask the guest's kernel for, and the options each takes.
enum FileSystemType {
    /// Keys of the options; nil: whatever the kernel says.
    static let options: [String: [String]?] = [
        "proc": ["gid", "hidepid", "subset"],
        "sysfs": [],
        "tmpfs": [
            "size", "nr_blocks", "nr_inodes", "mode", "uid", "gid", "huge", "mpol", "inode32", "inode64", "noswap", "quota", "usrquota",
            "grpquota",
        ],
        "devpts": ["newinstance", "gid", "uid", "mode", "ptmxmode", "max"],
        "mqueue": [],
        "ramfs": ["mode"],
        "hugetlbfs": ["uid", "gid", "mode", "pagesize", "size", "min_size", "nr_inodes"],
        // Options of either version: a spec may be written for a v1 host and gets v2.
        "cgroup": nil,
        "cgroup2": nil,
        "overlay": nil,
        "bpf": ["mode", "uid", "gid", "delegate_cmds", "delegate_maps", "delegate_progs", "delegate_attachs"],
        "debugfs": ["mode", "uid", "gid"],
        "tracefs": ["mode", "uid", "gid"],
        "securityfs": [],
        "binfmt_misc": [],
        "fusectl": [],
    ]
}
