import ArgumentParser
import OCI

struct ExplainCommand: RuntimeCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Say what happens to each field of a bundle's config.json in a virtual machine.",
        discussion: """
            Honoured on the host or in the guest, weakened, or refused, and why. Exits non-zero when a field is refused: \
            microvm run would not start that bundle.
            """)

    @OptionGroup var globals: GlobalOptions
    @Flag(help: "Print JSON: an array of field, value, treatment and note.") var json = false
    @Argument(help: ArgumentHelp("The bundle's directory.", valueName: "bundle")) var bundle = "."

    func run() throws {
        let bundle = try Bundle.load(bundle)
        let findings = bundle.spec.explanation(of: bundle.document)
        if json {
            try printOut(JSON.encode(findings, .pretty) + "\n")
        } else {
            var table = Table(["FIELD", "VALUE", "TREATMENT", "NOTE"], limits: [nil, 40, nil, nil])
            for finding in findings { table.add([finding.field, finding.value, finding.treatment.inWords, finding.note]) }
            try printOut(table.text)
        }
        if findings.contains(where: { $0.treatment == .refused }) { throw ExitCode(ExitStatus.badInput.rawValue) }
    }
}

extension Treatment {
    fileprivate var inWords: String {
        switch self {
        case .guest: "honoured in guest"
        case .host: "honoured on host"
        case .weakened: "WEAKENED"
        case .refused: "REFUSED"
        case .ignored: "ignored"
        }
    }
}
