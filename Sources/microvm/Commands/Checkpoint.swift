import ArgumentParser

struct Checkpoint: EngineCommand {
    static let configuration = CommandConfiguration(abstract: "Refused: containers cannot be checkpointed yet.")
    @OptionGroup var globals: GlobalOptions
    @Argument(parsing: .captureForPassthrough, help: .hidden) var arguments: [String] = []

    func run() throws {
        throw Failure(.failure, "checkpoint: not supported")
    }
}

struct Restore: EngineCommand {
    static let configuration = CommandConfiguration(abstract: "Refused: there are no checkpoints to restore.", shouldDisplay: false)
    @OptionGroup var globals: GlobalOptions
    @Argument(parsing: .captureForPassthrough, help: .hidden) var arguments: [String] = []

    func run() throws {
        throw Failure(.failure, "restore: not supported")
    }
}
