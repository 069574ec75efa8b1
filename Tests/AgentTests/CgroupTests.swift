import OCI
import Testing

@testable import Agent

@Suite("Cgroup limits")
struct CgroupLimitsTests {
    private func writes(_ change: (inout LinuxResources) -> Void) throws -> [String: String] {
        var resources = LinuxResources()
        change(&resources)
        return Dictionary(try CgroupLimits(resources).writes.map { ($0.file, $0.value) }) { $1 }
    }

    @Test("CPU: shares become a weight, quota and period one file")
    func cpu() throws {
        let all = try writes {
            $0.cpu = LinuxCPU()
            $0.cpu?.shares = 1024
            $0.cpu?.quota = 50_000
            $0.cpu?.burst = 1000
            $0.cpu?.cpus = "0-1"
        }
        #expect(all == ["cpu.weight": "39", "cpu.max": "50000 100000", "cpu.max.burst": "1000", "cpuset.cpus": "0-1"])
        #expect(try writes { $0.cpu = LinuxCPU(); $0.cpu?.quota = -1; $0.cpu?.period = 20_000 } == ["cpu.max": "max 20000"])
        #expect(try writes { $0.cpu = LinuxCPU(); $0.cpu?.shares = 0; $0.cpu?.quota = 0 } == [:])
        #expect([2, 262_144, 1, .max].map { CgroupLimits.weight(ofShares: $0) } == [1, 10000, 1, 10000])
    }

    @Test("memory: version 1 counts swap with memory, version 2 beside it")
    func memory() throws {
        func memory(_ limit: Int64?, _ swap: Int64?) throws -> [String: String] {
            try writes { $0.memory = LinuxMemory(); $0.memory?.limit = limit; $0.memory?.swap = swap }
        }
        #expect(try memory(100, 150) == ["memory.max": "100", "memory.swap.max": "50"])
        #expect(try memory(100, 100) == ["memory.max": "100", "memory.swap.max": "0"])
        #expect(try memory(100, -1) == ["memory.max": "100", "memory.swap.max": "max"])
        #expect(try memory(-1, 0) == ["memory.max": "max", "memory.swap.max": "max"])
        #expect(try memory(nil, nil) == [:])
        #expect(throws: InvalidField.self) { try memory(100, 50) }
    }

    @Test("the rest: processes, block weight, huge pages, and files by name last")
    func others() throws {
        var resources = LinuxResources()
        resources.pids = LinuxPids(limit: -1)
        resources.blockIO = LinuxBlockIO()
        resources.blockIO?.weight = 1000
        resources.hugepageLimits = [LinuxHugepageLimit(pageSize: "2MB", limit: 4096)]
        resources.unified = ["memory.high": "5", "cpu.weight": "7"]
        let writes = try CgroupLimits(resources).writes
        #expect(writes.map(\.file) == ["pids.max", "io.weight", "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max", "cpu.weight", "memory.high"])
        #expect(writes.map(\.value) == ["max", "10000", "4096", "4096", "7", "5"])
        #expect(writes.first?.field == "linux.resources.pids.limit")
    }

    @Test("where a container's cgroup is", arguments: [
        ("", ["id"]), ("/a/b", ["a", "b"]), ("a/b/", ["a", "b"]), ("/../x/./y", ["x", "y"]),
        ("system.slice:docker:abc", ["system.slice", "docker-abc.scope"]), ("::abc", ["system.slice", "abc.scope"]),
    ])
    func path(text: String, parts: [String]) {
        #expect(CgroupTree.path(text, id: "id") == parts)
    }

    @Test("statistics by file and key")
    func statistics() {
        var values: [String: UInt64] = [:]
        CgroupStatistics.add("usage_usec 5\nuser_usec 3\n", of: "cpu.stat", to: &values)
        CgroupStatistics.add("max\n", of: "memory.max", to: &values)
        CgroupStatistics.add("8:0 rbytes=1 wbytes=2\n", of: "io.stat", to: &values)
        CgroupStatistics.add("max 100000\n", of: "pids.current", to: &values)
        #expect(values["cpu.stat/usage_usec"] == 5)
        #expect(values["memory.max"] == .max)
        #expect(values["io.stat/8:0/wbytes"] == 2)
    }
}

@Suite("Device filter")
struct DeviceFilterTests {
    /// Runs the program as the kernel would: what it returns for one access.
    private func allows(_ rules: [LinuxDeviceCgroup], _ type: UInt64, _ major: UInt64, _ minor: UInt64, _ access: UInt64) -> Bool {
        let code = DeviceFilter.program(rules)
        let context = [access << 16 | type, major, minor]
        var registers = [UInt64](repeating: 0, count: 11)
        var next = 0
        while next < code.count {
            let word = code[next]
            next += 1
            let destination = Int(word >> 8 & 0xf)
            let source = Int(word >> 12 & 0xf)
            let offset = Int(Int16(truncatingIfNeeded: word >> 16))
            let value = word >> 32
            switch UInt8(truncatingIfNeeded: word) {
            case 0x61: registers[destination] = context[offset / 4]
            case 0xbc: registers[destination] = registers[source] & 0xffff_ffff
            case 0xb4: registers[destination] = value
            case 0x54: registers[destination] &= value
            case 0x74: registers[destination] >>= value
            case 0x05: next += offset
            case 0x16: if registers[destination] & 0xffff_ffff == value { next += offset }
            case 0x56: if registers[destination] & 0xffff_ffff != value { next += offset }
            case 0x95: return registers[0] != 0
            default: Issue.record("unknown instruction")
            }
        }
        Issue.record("the program does not end")
        return false
    }

    private let block: UInt64 = 1, character: UInt64 = 2
    private let mknod: UInt64 = 1, read: UInt64 = 2, write: UInt64 = 4

    @Test("nothing but every container's devices, unless a rule allows it")
    func defaults() {
        for rules in [[], [LinuxDeviceCgroup(allow: false, access: "rwm")]] {
            #expect(allows(rules, character, 1, 3, read | write))
            #expect(allows(rules, character, 136, 77, read | write))
            #expect(allows(rules, block, 8, 0, mknod))
            #expect(!allows(rules, block, 8, 0, read))
            #expect(!allows(rules, character, 10, 200, read | write))
            #expect(!allows(rules, character, 1, 11, mknod | read))
        }
    }

    @Test("the last rule for a device and a kind of access counts")
    func order() {
        let rules = [
            LinuxDeviceCgroup(allow: false, access: "rwm"), LinuxDeviceCgroup(allow: true, type: .character, major: 10, minor: 200),
            LinuxDeviceCgroup(allow: false, type: .character, major: 10, access: "w"),
        ]
        #expect(allows(rules, character, 10, 200, read))
        #expect(!allows(rules, character, 10, 200, write))
        #expect(!allows(rules, character, 10, 200, read | write))
        #expect(!allows(rules, character, 10, 201, read))
    }

    @Test("two rules may allow one access together; -1 is every number")
    func parts() {
        let rules = [
            LinuxDeviceCgroup(allow: true, type: .block, major: 8, minor: -1, access: "r"),
            LinuxDeviceCgroup(allow: true, type: .block, major: -1, minor: 5, access: "w"),
        ]
        #expect(allows(rules, block, 8, 5, read | write))
        #expect(!allows(rules, block, 8, 6, read | write))
        #expect(allows(rules, block, 8, 6, read))
    }

    @Test("the usual list is a short program: verifying each instruction takes milliseconds where ring 0 is interpreted")
    func size() {
        #expect(DeviceFilter.program([LinuxDeviceCgroup(allow: false, access: "rwm")]).count <= 30)
    }

    @Test("rules of every shape, with and without the defaults behind them, agree with a plain reading", arguments: 0..<200)
    func random(seed: UInt64) {
        var state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 1
        func next(_ limit: UInt64) -> UInt64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state % limit
        }
        let accesses = ["r", "w", "m", "rw", "rwm", "rm", ""]
        let rules = (0..<next(8)).map { _ in
            LinuxDeviceCgroup(
                allow: next(2) == 0, type: [.all, .block, .character, nil][Int(next(4))], major: next(3) == 0 ? nil : Int64(next(3)),
                minor: next(3) == 0 ? nil : Int64(next(3)), access: accesses[Int(next(7))])
        }
        for _ in 0..<50 {
            let device = (type: 1 + next(2), major: next(3), minor: next(3), access: 1 + next(7))
            #expect(
                allows(rules, device.type, device.major, device.minor, device.access) == plainly(rules + DeviceFilter.defaultRules, device))
        }
    }

    /// Bit by bit, from the last rule to the first.
    private func plainly(_ rules: [LinuxDeviceCgroup], _ device: (type: UInt64, major: UInt64, minor: UInt64, access: UInt64)) -> Bool {
        let letters: [(UInt64, Character)] = [(mknod, "m"), (read, "r"), (write, "w")]
        return letters.filter { device.access & $0.0 != 0 }.allSatisfy { _, letter in
            for rule in rules.reversed() {
                let isType = rule.type == nil || rule.type == .all || (rule.type == .block) == (device.type == block)
                let isNumber = (rule.major ?? -1) < 0 || rule.major == Int64(device.major)
                let isMinor = (rule.minor ?? -1) < 0 || rule.minor == Int64(device.minor)
                if isType, isNumber, isMinor, rule.access.isEmpty || rule.access.contains(letter) { return rule.allow }
            }
            return false
        }
    }

    @Test("a privileged container's list needs no filter")
    func everything() {
        #expect(DeviceFilter.allowsEverything([LinuxDeviceCgroup(allow: false), LinuxDeviceCgroup(allow: true, access: "rwm")]))
        #expect(!DeviceFilter.allowsEverything([LinuxDeviceCgroup(allow: true), LinuxDeviceCgroup(allow: false, type: .block)]))
        #expect(!DeviceFilter.allowsEverything([]))
        #expect(allows([LinuxDeviceCgroup(allow: true, type: .all)], block, 9, 9, read | write | mknod))
    }
}
