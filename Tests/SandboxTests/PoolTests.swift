import Glibc
import Linux
import Testing

@testable import Sandbox

@Suite("Machines that wait")
struct PoolTests {
    @Test("memory is short when tasks wait for it a tenth of the time, or little is available", arguments: [
        (200_000, 16_000_000, "0.00", false), (200_000, 16_000_000, "9.99", false), (200_000, 16_000_000, "10.00", true),
        (16_000_000, 1_000_000, "0.00", true), (16_000_000, 1_100_000, "0.00", false), (4_000_000, 399_999, "0.00", true), (4_000_000, 400_000, "0.00", false),
    ])
    func pressure(total: Int, available: Int, waiting: String, wanted: Bool) {
        let information = "MemTotal:       \(total) kB\nMemFree:         1 kB\nMemAvailable:   \(available) kB\n"
        let pressure = "some avg10=\(waiting) avg60=50.00 avg300=0.00 total=1\nfull avg10=99.00 avg60=0.00 avg300=0.00 total=0\n"
        #expect(MemoryPressure.isHigh(information: information, pressure: pressure) == wanted)
    }

    @Test("a kernel that tells nothing of memory is believed to have some")
    func silence() {
        #expect(!MemoryPressure.isHigh(information: "", pressure: ""))
        #expect(!MemoryPressure.isHigh(information: "MemTotal: x kB\nMemAvailable:\n", pressure: "some avg10=\n"))
    }

    @Test("a machine goes from hand to hand whole or not at all")
    func hand() throws {
        func received(_ bytes: String, descriptors: Int) throws -> HandedMachine? {
            let (one, other) = try Descriptor.socketPair()
            let null = try Descriptor.open("/dev/null", O_RDONLY)
            try one.send(Array(bytes.utf8), passing: [Descriptor](repeating: null, count: descriptors))
            return HandedMachine(from: other)
        }
        let machine = try received("17 5", descriptors: 4)
        #expect(machine?.pid == 17 && machine?.nextStream == 5)
        for (text, count) in [("17 5", 3), ("17 5", 5), ("17", 4), ("17 x", 4), ("-", 4), ("17 5 6", 4), ("17 99999999999", 4)] {
            #expect(try received(text, descriptors: count) == nil, "\(text) \(count)")
        }
        let (one, other) = try Descriptor.socketPair()
        try one.shutdown(.both)
        #expect(HandedMachine(from: other) == nil)
    }

    @Test("of the machines that wait only those whose keeper lives are seen, and a full pool takes no more")
    func entries() throws {
        let path = "/tmp/microvm-pool-test-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        defer { _ = try? ChildProcess("/bin/rm", ["rm", "-rf", path], .init()).reap() }
        let root = try StateRoot(path)
        var options = SandboxMachine.Options()
        (options.softwareKVM, options.templates) = (false, "\(path)/templates")
        (options.vmm, options.kernel, options.image) = ("/bin/true", "/bin/true", "/bin/true")
        let pool = try MachinePool(root, target: 1, options, build: "1")
        var first = try #require(try pool.begin())
        #expect(pool.entries().count == 1)
        #expect(pool.readyCount == 0)
        #expect(try pool.begin() == nil)
        // A pool of another build does not see it as its own.
        #expect(try MachinePool(root, target: 1, options, build: "2").own().isEmpty)
        #expect(pool.isCurrent(build: "1") && !pool.isCurrent(build: "2"))
        _ = try Descriptor.listening(at: .unix(first.0.socketPath))
        #expect(pool.readyCount == 1)
        // The keeper is gone: its lock with it.
        first.alive = try Descriptor.open("/dev/null", O_RDONLY)
        #expect(pool.entries().isEmpty)
        try pool.drain()
        #expect(try Descriptor.open("\(path)/.pool", O_RDONLY | O_DIRECTORY).entryNames().allSatisfy { $0.hasPrefix(".") })
    }
}
