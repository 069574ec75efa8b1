/// The `vm` object of config.json (config-vm.md).
public struct VM: Codable, Sendable, Equatable {
    public var hypervisor: VMHypervisor?
    public var kernel: VMKernel?
    public var image: VMImage?
    public var hwConfig: HWConfig?

    public init() {}

    private enum CodingKeys: String, CodingKey {
        case hypervisor, kernel, image, hwConfig
        /// The specification's text and schema say `hwConfig`, its Go type this.
        case hwconfig
    }

    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        hypervisor = try fields.decodeIfPresent(VMHypervisor.self, forKey: .hypervisor)
        kernel = try fields.decodeIfPresent(VMKernel.self, forKey: .kernel)
        image = try fields.decodeIfPresent(VMImage.self, forKey: .image)
        hwConfig =
            try fields.decodeIfPresent(HWConfig.self, forKey: .hwConfig) ?? fields.decodeIfPresent(HWConfig.self, forKey: .hwconfig)
    }

    public func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encodeIfPresent(hypervisor, forKey: .hypervisor)
        try fields.encodeIfPresent(kernel, forKey: .kernel)
        try fields.encodeIfPresent(image, forKey: .image)
        try fields.encodeIfPresent(hwConfig, forKey: .hwConfig)
    }
}

public struct VMHypervisor: Codable, Sendable, Equatable {
    @OmitEmpty public var path: String
    @OmitEmpty public var parameters: [String]

    public init(path: String = "", parameters: [String] = []) {
        self.path = path
        self.parameters = parameters
    }
}

public struct VMKernel: Codable, Sendable, Equatable {
    /// Absolute, on the host.
    @OmitEmpty public var path: String
    @OmitEmpty public var parameters: [String]
    @OmitEmpty public var initrd: String

    public init(path: String = "", parameters: [String] = [], initrd: String = "") {
        self.path = path
        self.parameters = parameters
        self.initrd = initrd
    }
}

public struct VMImage: Codable, Sendable, Equatable {
    @OmitEmpty public var path: String
    @OmitEmpty public var format: String

    public init(path: String = "", format: String = "") {
        self.path = path
        self.format = format
    }
}

/// What the virtual machine is given (1.3).
public struct HWConfig: Codable, Sendable, Equatable {
    @OmitEmpty public var deviceTree: String
    public var vcpus: UInt32?
    /// Bytes.
    public var memory: UInt64?
    @OmitEmpty public var dtdevs: [String]
    @OmitEmpty public var iomems: [IOMems]
    @OmitEmpty public var irqs: [UInt32]

    public init(vcpus: UInt32? = nil, memory: UInt64? = nil) {
        self.vcpus = vcpus
        self.memory = memory
    }
}

/// Pages of the host's I/O memory.
public struct IOMems: Codable, Sendable, Equatable {
    public var firstGFN: UInt64?
    public var firstMFN: UInt64?
    public var nrMFNs: UInt64?

    public init() {}
}
