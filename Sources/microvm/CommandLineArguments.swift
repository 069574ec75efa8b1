/// The command line as engines write it, turned into what the parser takes.
enum CommandLineArguments {
    private static let globalsWithValue: Set = ["--root", "--log", "--log-format"]
    private static let globalFlags: Set = ["--debug"]

    /// Moves global options that stand before the subcommand behind it: `--root R run B` → `run --root R B`.
    /// Anything else before it (`--help`, `--version`) leaves the line as it is.
    static func normalized(_ arguments: [String]) -> [String] {
        var globals: [String] = []
        var rest = arguments[...]
        while let argument = rest.first, argument.hasPrefix("-") {
            let name = argument.prefix { $0 != "=" }
            let takesValue = globalsWithValue.contains(String(name)) && name.count == argument.count
            guard takesValue || globalsWithValue.contains(String(name)) || globalFlags.contains(argument) else {
                return argument == "-v" ? ["--version"] : arguments
            }
            globals += rest.prefix(takesValue ? 2 : 1)
            rest = rest.dropFirst(takesValue ? 2 : 1)
        }
        return rest.prefix(1) + globals + rest.dropFirst()
    }
}
