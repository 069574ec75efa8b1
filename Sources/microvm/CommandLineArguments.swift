/// The command line as engines write it, turned into what the parser takes.
enum CommandLineArguments {
    private static let globalsWithValue: Set = ["--root", "--log", "--log-format", "--settings"]
    private static let globalFlags: Set = ["--debug"]
    /// Commands with commands of their own.
    private static let twoWords: Set = ["template", "pool"]
    /// Engines give these to every runtime. They choose how cgroups of the host are made and processes frozen, which a
    /// container in a virtual machine has no part in.
    private static let foreignWithValue: Set = ["--criu", "--rootless", "--cgroup-manager"]
    private static let foreignFlags: Set = ["--systemd-cgroup"]

    /// Moves global options that stand before the subcommand behind it, `--root R run B` → `run --root R B`, and drops those
    /// that mean nothing here. Anything else before it (`--help`, `--version`) leaves the line as it is.
    static func normalized(_ arguments: [String]) -> [String] {
        var globals: [String] = []
        let arguments = withTwoDashes(arguments)
        var rest = arguments[...]
        while let argument = rest.first, argument.hasPrefix("-") {
            let name = String(argument.prefix { $0 != "=" })
            let takesValue = globalsWithValue.contains(name) || foreignWithValue.contains(name)
            guard takesValue || globalFlags.contains(argument) || foreignFlags.contains(argument) else {
                return argument == "-v" ? ["--version"] : arguments
            }
            let count = takesValue && name == argument ? 2 : 1
            if globalsWithValue.contains(name) || globalFlags.contains(name) { globals += rest.prefix(count) }
            rest = rest.dropFirst(count)
        }
        // `template build` is two words.
        let words = rest.first.map { twoWords.contains($0) } == true && rest.dropFirst().first?.hasPrefix("-") == false ? 2 : 1
        return rest.prefix(words) + globals + rest.dropFirst(words)
    }

    /// Options of runc's, which its parser takes with one dash as well, and engines write so: `-no-subreaper`.
    private static let flags: Set = [
        "all", "auto-dedup", "debug", "detach", "ext-unix-sk", "file-locks", "force", "help", "ignore-paused", "keep", "lazy-pages", "leave-running",
        "link-remap", "no-new-keyring", "no-new-privs", "no-pivot", "no-subreaper", "pre-dump", "quiet", "regex", "shell-job",
        "stats", "stop", "systemd-cgroup", "tcp-established", "tcp-skip-in-flight", "tty", "version",
    ]
    private static let valued: Set = [
        "additional-gids", "apparmor", "blkio-weight", "bundle", "cap", "cgroup", "cgroup-manager", "config", "console-socket", "cpu-period", "cpu-quota",
        "cpu-rt-period", "cpu-rt-runtime", "cpu-share", "cpuset-cpus", "cpuset-mems", "criu", "cwd", "empty-ns", "env", "format", "id", "image-path", "interval", "log", "log-format",
        "manage-cgroups-mode", "memory", "memory-reservation", "memory-swap", "page-server", "parent", "parent-path", "pid-file", "pids-limit", "preserve-fds",
        "process", "process-label", "resources", "root", "rootless", "status-fd", "user", "work-path",
    ]
    /// In `exec`; elsewhere some of these are flags.
    private static let valuedLetters: Set = ["-u", "-e", "-p", "-c", "-g"]

    /// Leaves alone what belongs to the program `exec` runs.
    private static func withTwoDashes(_ arguments: [String]) -> [String] {
        var result: [String] = []
        var words: [String] = []
        var rest = arguments[...]
        while !(words.first == "exec" && words.count > 1), let argument = rest.popFirst(), argument != "--" {
            let name = String(argument.drop { $0 == "-" }.prefix { $0 != "=" })
            guard argument.hasPrefix("-") else {
                words.append(argument)
                result.append(argument)
                continue
            }
            let isLong = flags.contains(name) || valued.contains(name)
            result.append(isLong && !argument.hasPrefix("--") ? "-" + argument : argument)
            guard !argument.contains("="), valued.contains(name) || words.first == "exec" && valuedLetters.contains(argument) else { continue }
            if let value = rest.popFirst() { result.append(value) }
        }
        return result + arguments.suffix(arguments.count - result.count)
    }
}
