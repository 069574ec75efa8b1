import Glibc
import KVM
import Testing

@Suite("Host probe")
struct HostProbeTests {
    @Test(
        "the probe agrees with what is known of this host",
        .enabled(if: access("/dev/kvm", R_OK | W_OK) == 0, "THIS MACHINE HAS NO /dev/kvm: KVM is not tested here"))
    func thisHost() throws {
        let result = try HostProbe.run(try System())
        #expect(result.kind == (access("/sys/module/kvm_pvm", F_OK) == 0 ? .software : .hardware))
        #expect(result.instructionsPerSecond > 100_000)
    }

    @Test("an emulator that lacks instructions, or a slow one that has them, is software")
    func verdicts() {
        #expect(HostProbe.Result(completesPopcnt: true, instructionsPerSecond: 3_000_000_000).kind == .hardware)
        #expect(HostProbe.Result(completesPopcnt: false, instructionsPerSecond: 3_000_000_000).kind == .software)
        #expect(HostProbe.Result(completesPopcnt: true, instructionsPerSecond: 1_850_000).kind == .software)
    }

    @Test("the verdict is said in words with the speed in millions")
    func words() {
        #expect("\(HostProbe.Result(completesPopcnt: true, instructionsPerSecond: 2_134_000_000))".contains("2134 million"))
        #expect("\(HostProbe.Result(completesPopcnt: false, instructionsPerSecond: 1_850_000))".contains("1.8 million"))
        #expect("\(HostProbe.Result(completesPopcnt: false, instructionsPerSecond: 1_850_000))".contains("no hardware virtualisation"))
    }
}
