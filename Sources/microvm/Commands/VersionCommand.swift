import ArgumentParser
import OCI

struct VersionCommand: RuntimeCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Print the version, as --version does.")

    @OptionGroup var globals: GlobalOptions

    func run() throws {
        try printOut(Version.text + "\n")
    }
}

struct FeaturesCommand: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "features", abstract: "Print what this runtime supports, as runtime-spec's features.md has it.")

    @OptionGroup var globals: GlobalOptions

    func run() throws {
        let features = Features.current(annotations: ["io.microvm.version": Version.number])
        try printOut(JSON.encode(features, .pretty) + "\n")
    }
}
