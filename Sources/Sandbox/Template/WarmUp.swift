import AgentAPI
import Glibc
import Linux
import OCI

/// Runs a container in a machine that is to become a template. Its clones then find what a first container is dear for:
/// the agent's and the kernel's pages touched, slabs grown, shares looked at.
///
/// The container is as `microvm spec` has it, its only file a program of a few instructions. Nothing of it is left.
struct WarmUp {
    private static let name = "warm-up"
    private static let rootName = "root"
    private static let deadline: UInt64 = 60_000_000_000

    let machine: SandboxMachine

    /// - Parameter directory: takes the container's root file system for the time being.
    func run(in directory: Descriptor) throws {
        let root = try makeRoot(in: directory)
        defer { removeRoot(in: directory) }
        try machine.share(Self.name, root, readOnly: true)
        let output = try Descriptor.pipe()
        let streams = ProcessStreams(
            .init(
                standardInput: try HostStream(Descriptor.open("/dev/null", O_RDONLY), access: O_RDONLY),
                standardOutput: try HostStream(output.writing, access: O_WRONLY), standardError: try HostStream(output.writing, access: O_WRONLY)),
            on: machine.loop)
        defer { streams.stop() }
        let guestStreams = try streams.open(vsock: machine.vsockPath)
        let container = ContainerRequest.with { $0.containerID = Self.name }
        _ = try machine.call(
            AgentMethods.createContainer,
            CreateContainerRequest.with {
                $0.containerID = Self.name
                $0.spec = .init(try JSON.encode(Self.spec).utf8)
                $0.streams = guestStreams
            })
        _ = try machine.call(AgentMethods.startContainer, container)
        let end = try machine.call(AgentMethods.wait, ProcessRequest.with { $0.containerID = Self.name }, deadline: Self.deadline)
        _ = try streams.drain(machine.waiter, of: end)
        _ = try machine.call(AgentMethods.deleteContainer, container)
        try machine.unshare(Self.name)
        _ = try machine.call(AgentMethods.configureNetwork, Self.loopback)
        // Last: the container that warms things up shall not take what is made for the clones'.
        _ = try machine.call(
            AgentMethods.prepareContainer, CreateContainerRequest.with { $0.spec = .init(try JSON.encode(Self.spec).utf8) })
    }

    /// What lo has already; its Ethernet address is all zeroes.
    private static let loopback = ConfigureNetworkRequest.with {
        $0.interfaces = [
            .with {
                $0.name = "lo"
                $0.ethernetAddress = .init(MACAddress.zero.bytes)
                $0.addresses = [
                    .with {
                        $0.address = .init([127, 0, 0, 1])
                        $0.prefixLength = 8
                        $0.scope = 254
                    }
                ]
                $0.ipv6Enabled = true
            }
        ]
    }

    private static var spec: Spec {
        var spec = Spec.template()
        spec.process?.terminal = false
        spec.process?.args = ["/program"]
        // The files are our user's, who need not be the guest's root.
        let capabilities = ["CAP_DAC_OVERRIDE"]
        spec.process?.capabilities = LinuxCapabilities(bounding: capabilities, effective: capabilities, permitted: capabilities)
        spec.root = Root(path: "\(AgentAddress.sharesDirectory)/\(name)", readonly: true)
        return spec
    }

    // MARK: Root file system

    private static let mountPoints = ["dev", "proc", "sys"]

    private func makeRoot(in directory: Descriptor) throws -> Descriptor {
        try directory.makeDirectory(Self.rootName, mode: 0o700)
        let root = try Descriptor.open(Self.rootName, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: directory)
        for name in Self.mountPoints { try root.makeDirectory(name, mode: 0o755) }
        try Descriptor.open("program", O_WRONLY | O_CREAT | O_EXCL, mode: 0o755, at: root).writeAll(Self.program)
        return root
    }

    private func removeRoot(in directory: Descriptor) {
        guard let root = try? Descriptor.open(Self.rootName, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: directory) else { return }
        for name in Self.mountPoints { try? root.remove(name, isDirectory: true) }
        try? root.remove("program")
        try? directory.remove(Self.rootName, isDirectory: true)
    }

    /// A static ELF executable for x86-64 that writes a line feed and exits with 0.
    private static let program: [UInt8] = {
        let base: UInt64 = 0x40_0000
        let headers: UInt64 = 64 + 56
        // mov eax, 1; mov edi, eax; lea rsi, [rip + 13]; mov edx, eax; syscall; mov eax, 60; xor edi, edi; syscall; "\n"
        let code: [UInt8] = [
            0xb8, 1, 0, 0, 0, 0x89, 0xc7, 0x48, 0x8d, 0x35, 13, 0, 0, 0, 0x89, 0xc2, 0x0f, 0x05, 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05, 0x0a,
        ]
        func bytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
            (0..<MemoryLayout<Value>.size).map { UInt8(truncatingIfNeeded: value >> Value(8 * $0)) }
        }
        let size = headers + UInt64(code.count)
        // e_ident; ET_EXEC, EM_X86_64, version, entry, program headers' and sections' offset, flags, sizes and counts.
        let file: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0] + bytes(UInt16(2)) + bytes(UInt16(62)) + bytes(UInt32(1))
        let rest: [UInt8] = bytes(base + headers) + bytes(UInt64(64)) + bytes(UInt64(0)) + bytes(UInt32(0))
        let counts: [UInt8] = [64, 56, 1, 0, 0, 0].flatMap { bytes(UInt16($0)) }
        // PT_LOAD, R and X: offset 0 at the base.
        let segment: [UInt8] = bytes(UInt32(1)) + bytes(UInt32(5)) + [0, base, base, size, size, 4096].flatMap { bytes(UInt64($0)) }
        return file + rest + counts + segment + code
    }()
}
