import Glibc
import Linux
import Testing

@testable import Machine

@Suite("microvm-vmm", .enabled(if: hasKVM, "THIS MACHINE HAS NO /dev/kvm: microvm-vmm is not tested here"))
struct VMMProcessTests {
    @Test(
        "every way a guest can end is an event and an exit status of its own",
        arguments: [
            (Code.powerOff, "power-off", 0), (Code.panic + Code.reset, "panic", 4), (Code.reset, "reset", 5), ([0x0f, 0x0b], "triple-fault", 6),
        ] as [([UInt8], String, Int32)])
    func ends(_ code: [UInt8], _ reason: String, _ status: Int32) throws {
        for options in [[], ["--jail"]] {
            let vmm = try VMMProcess(try TestKernel(code + Code.forever).file(), options)
            try vmm.expectStarted()
            #expect(try vmm.next() == "event ended \(reason)")
            #expect(try vmm.exitCode() == .exited(status))
            #expect(vmm.complaints == "")
        }
    }

    @Test("requests are answered in order, unknown ones by an error")
    func requests() throws {
        let vmm = try VMMProcess(try TestKernel(Code.forever).file(), ["--cpus", "2"])
        try vmm.expectStarted()
        #expect(try vmm.ask("pause") == "ok")
        #expect(try vmm.ask("pause") == "ok")
        #expect(try vmm.ask("resume") == "ok")
        #expect(try vmm.ask("resume") == "ok")
        let metrics = try vmm.ask("metrics") ?? ""
        #expect(metrics.hasPrefix("ok ") && metrics.contains(" kvm.exits="), "\(metrics)")
        for request in ["", "bogus", "pause now", "share", "share x", "unshare", "share x rx"] where !request.isEmpty {
            #expect(try vmm.ask(request)?.hasPrefix("error ") == true, "\(request)")
        }
        #expect(try vmm.ask(String(repeating: "x", count: 5000))?.hasPrefix("error ") == true)
        #expect(try vmm.ask("stop") == "ok")
        #expect(try vmm.next() == "event ended stopped")
        #expect(try vmm.exitCode() == .exited(0))
    }

    @Test("the machine ends when the host's end of the control socket closes")
    func hostGone() throws {
        let kernel = try TestKernel(Code.forever).file()
        var vmm: VMMProcess? = try VMMProcess(kernel)
        try vmm?.expectStarted()
        let pidfd = try #require(vmm?.child.pidfd)
        try vmm?.control.shutdown(.both)
        #expect(pidfd.isReady(for: .readable, milliseconds: 20_000))
        #expect(try vmm?.exitCode() == .exited(0))
        vmm = nil
    }

    @Test("a paused guest does nothing until it is resumed")
    func pause() throws {
        // Prints for ever.
        let vmm = try VMMProcess(try TestKernel(Code.out(0x3f8, 0x2e) + [0xeb, 0xf7]).file(), ["--jail"])
        try vmm.expectStarted()
        while vmm.printed.count < 3 { usleep(10_000) }
        #expect(try vmm.ask("metrics")?.contains(" kvm.exits=") == true, "counters are read in the jail")
        #expect(try vmm.ask("pause") == "ok")
        let before = vmm.printed.count
        usleep(200_000)
        #expect(vmm.printed.count == before)
        #expect(try vmm.ask("resume") == "ok")
        for _ in 0..<500 where vmm.printed.count == before { usleep(10_000) }
        #expect(vmm.printed.count > before)
        #expect(try vmm.ask("pause") == "ok")
        #expect(try vmm.ask("stop") == "ok")
        #expect(try vmm.exitCode() == .exited(0))
    }

    @Test("shares are added and removed by request; what is no file or directory is refused")
    func shares() throws {
        let vmm = try VMMProcess(try TestKernel(Code.forever).file(), ["--jail"])
        try vmm.expectStarted()
        let directory = try Descriptor.open("/tmp", O_RDONLY | O_DIRECTORY)
        #expect(try vmm.ask("share a ro", passing: [directory]) == "ok")
        #expect(try vmm.ask("share a rw", passing: [directory])?.hasPrefix("error ") == true)
        #expect(try vmm.ask("share b rw always", passing: [directory]) == "ok")
        #expect(try vmm.ask("share c rw sometimes", passing: [directory])?.hasPrefix("error ") == true)
        #expect(try vmm.ask("share c rw")?.hasPrefix("error ") == true)
        #expect(try vmm.ask("share c rw", passing: [directory, directory])?.hasPrefix("error ") == true)
        #expect(try vmm.ask("share .. rw", passing: [directory])?.hasPrefix("error ") == true)
        let device = try Descriptor.open("/dev/null", O_RDWR)
        #expect(try vmm.ask("share d rw", passing: [device])?.hasPrefix("error ") == true)
        #expect(try vmm.ask("unshare a") == "ok")
        #expect(try vmm.ask("unshare a")?.hasPrefix("error ") == true)
    }

    @Test("a file that is no kernel, or one that does not fit, is an error that says so")
    func badKernels() throws {
        var cut = TestKernel(Code.powerOff)
        cut.bytes.removeLast(4)
        for (kernel, words) in [
            (cut, "truncated"), (TestKernel(Code.powerOff, machine: 183), "x86"), (TestKernel(Code.powerOff, memorySize: 1 << 30), "--memory"),
        ] {
            let vmm = try VMMProcess(try kernel.file())
            #expect(try vmm.exitCode() == .exited(7))
            #expect(vmm.complaints.contains(words), "\(vmm.complaints)")
            #expect(vmm.complaints.contains("load kernel"))
        }
    }

    @Test("wrong options are a usage error", arguments: [
        ["--cpus", "0"], ["--cpus", "17"], ["--memory", "1000"], ["--memory", "67108865"], ["--image-fd", "999"], ["--share", "x:3"], ["--bogus"], ["--vsock-fd", "-1"],
    ])
    func usage(_ options: [String]) throws {
        let vmm = try VMMProcess(try TestKernel(Code.powerOff).file(), options)
        #expect(try vmm.exitCode() == .exited(2))
    }
}
