import Glibc
import KVM
import Linux
import Synchronization
import Testing
import Virtio

@testable import Machine

/// Code of the snapshot tests' kernels.
extension Code {
    /// Counts in RBX and in memory at 2 MiB together, and prints the low byte of both when they differ or the count has
    /// reached `end`, after which it powers off. The first thing printed is a `!`.
    static func count(to end: UInt32) -> [UInt8] {
        let start = out(0x3f8, 0x21) + movRDI(0x20_0000) + [0x31, 0xdb, 0x89, 0x1f]  // xor ebx, ebx; mov [rdi], ebx
        let compare: [UInt8] = [0x39, 0x1f]  // cmp [rdi], ebx
        let failed = out(0x3f8, 0x58) + powerOff + forever
        let step: [UInt8] = [0xff, 0xc3, 0xff, 0x07]  // inc ebx; inc dword [rdi]
        let limit: [UInt8] = [0x81, 0xfb] + bytes(end)  // cmp ebx, end
        let body = step + compare + [0x75, UInt8(limit.count + 2)] + limit  // jne failed
        let back = Int8(-(body.count + 2))
        let loop = body + [0x75, UInt8(bitPattern: back)]  // jne loop
        // The jne above lands behind the loop's own jump: on what prints `=` unless the flags say otherwise.
        let same: [UInt8] = [0x39, 0x1f, 0x75, UInt8(out(0x3f8, 0x3d).count + powerOff.count + forever.count)]
        return start + loop + same + out(0x3f8, 0x3d) + powerOff + forever + failed
    }
}

@Suite("Snapshots", .enabled(if: hasKVM, "THIS MACHINE HAS NO /dev/kvm: snapshots are not tested here"), .serialized)
struct SnapshotTests {
    /// Some seconds on any KVM.
    private static let rounds: UInt32 = SnapshotMachine.softwareKVM ? 300_000 : 40_000_000

    @Test("a guest that counts is saved, goes on, and goes on in a second machine as if nothing had been")
    func counting() throws {
        let folder = try SnapshotFolder()
        let configuration = try SnapshotMachine.configuration(Code.count(to: Self.rounds))
        let first = try SnapshotMachine(configuration)
        try first.start()
        #expect(first.waitForOutput(1))
        usleep(100_000)
        try first.machine.save(to: folder.descriptor)
        #expect(first.finish(seconds: 60) == .powerOff)
        #expect(first.printed.bytes == Array("!=".utf8))

        for _ in 0..<2 {
            let second = try SnapshotMachine(restoring: folder.descriptor, configuration)
            try second.start()
            #expect(second.finish(seconds: 60) == .powerOff)
            #expect(second.printed.bytes == Array("=".utf8))
        }
    }

    @Test("a difference to a snapshot is small, and goes on with it and no other")
    func differences() throws {
        let folders = try (0..<4).map { _ in try SnapshotFolder() }
        let configuration = try SnapshotMachine.configuration(Code.count(to: Self.rounds))
        let first = try SnapshotMachine(configuration)
        try first.start()
        #expect(first.waitForOutput(1))
        try first.machine.save(to: folders[0].descriptor)
        usleep(50_000)
        try first.machine.save(to: folders[1].descriptor, since: folders[0].descriptor)
        first.stop()
        func blocks(_ folder: SnapshotFolder) throws -> Int64 {
            Int64(try Descriptor.open(SnapshotDirectory.memoryName, O_RDONLY, at: folder.descriptor).status().st_blocks)
        }
        // The page it counts in; of a kernel of one page everything else is the tables of its boot.
        #expect(try blocks(folders[1]) == 8)
        #expect(try blocks(folders[0]) > 8)

        let second = try SnapshotMachine(restoring: folders[1].descriptor, base: folders[0].descriptor, configuration)
        try second.start()
        // One that goes on from two is saved whole, or as a difference again.
        try second.machine.save(to: folders[2].descriptor)
        try second.machine.save(to: folders[3].descriptor, since: folders[0].descriptor)
        #expect(second.finish(seconds: 60) == .powerOff)
        #expect(second.printed.bytes == Array("=".utf8))
        for (folder, base) in [(folders[2], nil), (folders[3], folders[0])] {
            let third = try SnapshotMachine(restoring: folder.descriptor, base: base?.descriptor, configuration)
            try third.start()
            #expect(third.finish(seconds: 60) == .powerOff)
            #expect(third.printed.bytes == Array("=".utf8))
        }

        func expectRefusal(_ words: String, _ body: () throws -> Void) {
            #expect { try body() } throws: { "\($0)".contains(words) }
        }
        expectRefusal("has a parent, which is not given") { _ = try SnapshotMachine(restoring: folders[1].descriptor, configuration) }
        expectRefusal("parent's memory file is not the one") {
            _ = try SnapshotMachine(restoring: folders[1].descriptor, base: folders[2].descriptor, configuration)
        }
        let other = try SnapshotFolder()
        let last = try SnapshotMachine(restoring: folders[0].descriptor, configuration)
        try last.start()
        defer { last.stop() }
        expectRefusal("the parent has a parent itself") { try last.machine.save(to: other.descriptor, since: folders[1].descriptor) }
        #expect(try other.descriptor.entryNames().isEmpty)
    }

    @Test("a jailed VMM saves its machine when asked, and another goes on with it")
    func jailed() throws {
        let folder = try SnapshotFolder()
        let kernel = try TestKernel(Code.count(to: Self.rounds)).file()
        let first = try VMMProcess(kernel, ["--jail"])
        try first.expectStarted()
        #expect(try first.ask("snapshot")?.hasPrefix("error ") == true)
        #expect(try first.ask("snapshot", passing: [folder.descriptor]) == "ok")
        #expect(try first.ask("snapshot", passing: [folder.descriptor])?.contains("there is a snapshot already") == true)
        #expect(try first.next() == "event ended power-off")
        #expect(first.printed == Array("!=".utf8))

        for memory in [64 << 20, 65 << 20] {
            let second = try VMMProcess(
                kernel, ["--jail", "--restore-fd", "\(folder.descriptor.raw)"], passing: [folder.descriptor], memory: memory)
            guard memory == 64 << 20 else {
                #expect(try second.exitCode() == .exited(8))
                #expect(second.complaints.contains("bytes of memory"), "\(second.complaints)")
                continue
            }
            try second.expectStarted()
            #expect(try second.next() == "event ended power-off")
            #expect(try second.exitCode() == .exited(0))
            #expect(second.complaints == "")
            // What came before the snapshot was printed by the first machine only.
            #expect(Array("!=".utf8).hasSuffix(second.printed) && !second.printed.isEmpty)
        }
    }

    @Test("a machine that runs holds no file open that other machines are made of", arguments: [false, true])
    func openFiles(restored: Bool) throws {
        let folder = try SnapshotFolder()
        let kernel = try TestKernel(Code.out(0x3f8, 0x21) + Code.forever).file()
        var vmm = try VMMProcess(kernel, ["--jail"])
        try vmm.expectStarted()
        if restored {
            #expect(try vmm.ask("snapshot", passing: [folder.descriptor]) == "ok")
            vmm = try VMMProcess(kernel, ["--jail", "--restore-fd", "\(folder.descriptor.raw)"], passing: [folder.descriptor])
            try vmm.expectStarted()
        }
        // Answered by a thread of the running machine.
        #expect(try vmm.ask("metrics")?.hasPrefix("ok") == true)
        let directory = "/proc/\(vmm.child.pid)/fd"
        let files = try Descriptor.open(directory, O_RDONLY | O_DIRECTORY).entryNames().compactMap { try? readLink("\(directory)/\($0)") }
        #expect(files.contains { $0.contains("kvm-vm") })
        for file in files {
            #expect(!file.contains("test-kernel") && !file.hasPrefix(folder.path) && !file.hasSuffix("microvm-vmm"), "\(file)")
        }
    }
}

extension [UInt8] {
    fileprivate func hasSuffix(_ other: [UInt8]) -> Bool { Array(suffix(other.count)) == other }
}
