import OCI

/// What is written beside a template's snapshot, for people and for keeping order. Nothing in it is needed for a restore.
public struct TemplateRecord: Codable, Sendable, Equatable {
    static let currentVersion = 1

    public var version = TemplateRecord.currentVersion
    public let cpus: Int
    /// Bytes.
    public let memory: Int
    /// RFC 3339.
    public let created: String
    /// Milliseconds that making it took.
    public let buildTime: Int
    /// What it was made of: paths, as given or found.
    public let vmm: String
    public let kernel: String
    public let image: String
    public let kernelArguments: String
    public let softwareKVM: Bool?

    init(_ installation: Installation, _ size: MachineSize, _ options: SandboxMachine.Options, created: String, buildTime: Int) {
        cpus = size.cpus
        memory = size.memory
        vmm = installation.vmm
        kernel = installation.kernel
        image = installation.image
        kernelArguments = options.kernelArguments
        softwareKVM = options.softwareKVM
        self.created = created
        self.buildTime = buildTime
    }

    /// The key a template of the same things would have today; nil if one of them is gone.
    var key: TemplateKey? {
        guard let installation = try? Installation(vmm: vmm, kernel: kernel, image: image) else { return nil }
        var options = SandboxMachine.Options()
        options.kernelArguments = kernelArguments
        options.softwareKVM = softwareKVM
        return try? TemplateKey(installation, MachineSize(cpus: cpus, memory: memory, softwareKVM: softwareKVM ?? false), options)
    }
}
