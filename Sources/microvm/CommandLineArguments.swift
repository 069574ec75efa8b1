/// The command line as engines write it, turned into what the parser takes.
enum CommandLineArguments {
    private static let globalsWithValue: Set = ["--root", "--log", "--log-format"]
    private static let globalFlags: Set = ["--debug"]
    /// Engines give these to every runtime. They choose how cgroups of the host are made and processes frozen, which a
    /// container in a virtual machine has no part in.
    private static let foreignWithValue: Set = ["--criu", "--rootless", "--cgroup-manager"]
    private static let foreignFlags: Set = ["--systemd-cgroup"]

    /// Moves global options that stand before the subcommand behind it, `--root R run B` → `run --root R B`, and drops those
    /// that mean nothing here. Anything else before it (`--help`, `--version`) leaves the line as it is.
    static func normalized(_ arguments: [String]) -> [String] {
        var globals: [String] = []
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
        let words = rest.first == TemplateCommand.configuration.commandName && rest.dropFirst().first?.hasPrefix("-") == false ? 2 : 1
        return rest.prefix(words) + globals + rest.dropFirst(words)
    }
}
