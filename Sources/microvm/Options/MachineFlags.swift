import ArgumentParser
import Sandbox

/// What an operator chooses of a container's machine.
struct MachineFlags: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Virtual CPUs, 1 to 16.",
            discussion: "Default: vm.hwConfig.vcpus of config.json, else as many as linux.resources.cpu.quota can use, else 1.", valueName: "n"))
    var cpus: Int?

    @Option(
        help: ArgumentHelp(
            "Guest memory: bytes, or with K, M or G.",
            discussion: """
                Default: vm.hwConfig.memory of config.json, else linux.resources.memory.limit and 64M for the guest, at least 256M, \
                or 128M where KVM interprets the guest's kernel. \
                The host gives only what is used.
                """, valueName: "size"))
    var memory: String?

    @Option(help: ArgumentHelp("Guest kernel, an ELF vmlinux. Default: ../share/microvm/vmlinux beside this program.", valueName: "file"))
    var kernel: String?

    @Option(help: ArgumentHelp("Guest image. Default: ../share/microvm/guest.erofs beside this program.", valueName: "file"))
    var image: String?

    @Option(help: ArgumentHelp("Virtual machine monitor. Default: microvm-vmm beside this program.", valueName: "file"))
    var vmm: String?

    @Option(help: ArgumentHelp("Added to the guest kernel's command line.", valueName: "text"))
    var kernelArguments: String?

    @Option(help: ArgumentHelp("Where the guest kernel's console goes; - is standard error. Default: console.log of the sandbox.", valueName: "file"))
    var console: String?

    @Option(
        help: ArgumentHelp(
            "How long the guest believes what it was told about shared files: auto or always.",
            discussion: "auto: a second, for the host may change them too. always: saves it from asking again, where nobody else changes them.",
            valueName: "policy"))
    var shareCache = ShareCache.auto

    @Option(help: .hidden)
    var hostKind: HostKindName?

    @Option(
        help: ArgumentHelp(
            "Where templates are kept. Default: /var/lib/microvm/templates, or $XDG_DATA_HOME/microvm/templates when not root.", valueName: "dir"))
    var templates: String?

    /// Fills in the machine's part of `launch`; paths become absolute, for a monitor may work elsewhere.
    func apply(to launch: inout Launch) throws {
        if let cpus {
            guard MachineSize.cpuRange.contains(cpus) else { throw Failure(.usage, "--cpus: \(cpus) is not between 1 and 16") }
            launch.cpus = cpus
        }
        if let memory {
            guard let bytes = parseSize(memory) else { throw Failure(.usage, "--memory: \"\(memory)\" is not a size, such as 512M") }
            guard MachineSize.memoryRange.contains(bytes) else { throw Failure(.usage, "--memory: \(memory) is not between 32M and 1024G") }
            launch.memory = bytes
        }
        launch.machine.kernel = kernel.map(absolutePath)
        launch.machine.image = image.map(absolutePath)
        launch.machine.vmm = vmm.map(absolutePath)
        launch.machine.console = console.map { $0 == "-" ? $0 : absolutePath($0) }
        launch.machine.softwareKVM = hostKind.map { $0 == .software }
        launch.machine.kernelArguments = kernelArguments ?? ""
        launch.machine.shareCache = shareCache
        launch.machine.templates = templates.map(absolutePath)
    }
}

/// What the operator knows of the host, which is then not looked at.
enum HostKindName: String, ExpressibleByArgument {
    case hardware, software
}

extension ShareCache: ExpressibleByArgument {}

/// `512M`, `1G`, `65536K`, `1073741824`; units are powers of 1024.
func parseSize(_ text: String) -> Int? {
    let shifts: [Character: Int] = ["k": 10, "m": 20, "g": 30, "t": 40]
    var digits = text.lowercased()[...]
    if digits.hasSuffix("ib") { digits = digits.dropLast(2) } else if digits.hasSuffix("b") { digits = digits.dropLast() }
    var shift = 0
    if let unit = digits.last.flatMap({ shifts[$0] }) {
        shift = unit
        digits = digits.dropLast()
    }
    guard !digits.isEmpty, digits.allSatisfy(\.isNumber), let number = Int(digits) else { return nil }
    let (bytes, overflow) = number.multipliedReportingOverflow(by: 1 << shift)
    return overflow ? nil : bytes
}
