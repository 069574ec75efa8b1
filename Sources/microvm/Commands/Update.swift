import AgentAPI
import ArgumentParser
import Glibc
import Linux
import OCI
import Sandbox

struct Update: EngineCommand {
    static let configuration = CommandConfiguration(
        commandName: "update",
        abstract: "Change a running container's limits.",
        discussion: "They hold inside the virtual machine, whose own size stays. Zero and what is not named stay as they are.")
    @OptionGroup var globals: GlobalOptions
    @Option(name: .shortAndLong, help: ArgumentHelp("File with linux.resources as in config.json; - is standard input.", valueName: "file"))
    var resources: String?
    @Option(help: "Relative weight, 2 to 262144.") var cpuShare: UInt64?
    @Option(help: "Microseconds.") var cpuPeriod: UInt64?
    @Option(parsing: .unconditional, help: "Microseconds of each period; -1: no limit.") var cpuQuota: Int64?
    @Option(help: "CPUs of this host that the machine runs on, 0-3,7.") var cpusetCpus: String?
    @Option(help: "Memory nodes of this host that the machine is on.") var cpusetMems: String?
    @Option(parsing: .unconditional, help: "Bytes, or with K, M or G; -1: no limit.") var memory: String?
    @Option(parsing: .unconditional, help: "Bytes kept for it, if possible.") var memoryReservation: String?
    @Option(parsing: .unconditional, help: "Memory and swap together.") var memorySwap: String?
    @Option(parsing: .unconditional, help: "Most tasks.") var pidsLimit: Int64?
    @Option(help: "10 to 1000.") var blkioWeight: UInt16?
    @Option(help: .hidden) var cpuRtPeriod: UInt64?
    @Option(parsing: .unconditional, help: .hidden) var cpuRtRuntime: Int64?
    @Option(help: .hidden) var l3CacheSchema: String?
    @Option(help: .hidden) var memBwSchema: String?
    @OptionGroup var container: ContainerArgument

    func run() throws {
        let wanted = try resources.map(fromFile) ?? fromFlags()
        try wanted.validate()
        let request = try UpdateRequest.with {
            $0.containerID = container.id
            $0.resources = .init(try JSON.encode(wanted).utf8)
        }
        _ = try container.handle(globals).client().call(AgentMethods.update, request)
    }

    private func fromFile(_ path: String) throws -> LinuxResources {
        let value =
            path == "-" ? try JSON.read(Descriptor.standardInput.readToEnd(limit: Bundle.configLimit)) : try Bundle.readFile(path, orPipe: true)
        return try JSON.decode(from: value.withoutZeroes)
    }

    private func fromFlags() throws -> LinuxResources {
        guard l3CacheSchema == nil, memBwSchema == nil else { throw Failure(.usage, "update: intelRdt is not supported") }
        var resources = LinuxResources()
        var cpu = LinuxCPU()
        cpu.shares = cpuShare
        cpu.period = cpuPeriod
        cpu.quota = cpuQuota
        cpu.cpus = cpusetCpus ?? ""
        cpu.mems = cpusetMems ?? ""
        cpu.realtimePeriod = cpuRtPeriod
        cpu.realtimeRuntime = cpuRtRuntime
        resources.cpu = cpu
        var limits = LinuxMemory()
        limits.limit = try bytes("--memory", memory)
        limits.reservation = try bytes("--memory-reservation", memoryReservation)
        limits.swap = try bytes("--memory-swap", memorySwap)
        resources.memory = limits
        if let pidsLimit { resources.pids = LinuxPids(limit: pidsLimit) }
        if let blkioWeight {
            var blockIO = LinuxBlockIO()
            blockIO.weight = blkioWeight
            resources.blockIO = blockIO
        }
        return resources
    }

    private func bytes(_ flag: String, _ text: String?) throws -> Int64? {
        guard let text else { return nil }
        if text == "-1" { return -1 }
        guard let bytes = parseSize(text) else { throw Failure(.usage, "\(flag): \"\(text)\" is not a size, such as 512M") }
        return Int64(bytes)
    }
}

extension JSON.Value {
    /// Without members that are zero or null: docker sends those for limits that are to stay.
    var withoutZeroes: JSON.Value {
        guard case .object(let object) = content else { return self }
        var kept = JSON.Object()
        for member in object.members {
            switch member.value.content {
            case .null, .number("0"): continue
            default: _ = kept.append(member.key, member.value.withoutZeroes)
            }
        }
        return JSON.Value(.object(kept), at: position)
    }
}
