import Glibc
import KVM
import Linux
import Synchronization
import Testing

@testable import Machine

let hasKVM = access("/dev/kvm", R_OK | W_OK) == 0

/// Machines with hand-written kernels, on this host's own KVM.
@Suite("Machine", .enabled(if: hasKVM, "THIS MACHINE HAS NO /dev/kvm: nothing of the virtual machine itself is tested here"), .serialized)
struct MachineTests {
    private func run(_ code: [UInt8], cpus: Int = 1, memory: Int = 64 << 20, seconds: Int = 20) throws -> (EndReason, [UInt8]) {
        let printed = Printed()
        let configuration = MachineConfiguration(
            cpus: cpus, memory: memory, kernel: try TestKernel(code).file(), image: nil, commandLine: "", softwareKVM: softwareKVM)
        let machine = try Machine(configuration, system: try System(), devices: { _ in [] }, serialOutput: { printed.append($0) })
        let watchdog = try Thread("watchdog") {
            for _ in 0..<10 * seconds where !printed.ended.load(ordering: .relaxed) { usleep(100_000) }
            machine.stop()
        }
        let reason = try machine.run()
        printed.ended.store(true, ordering: .relaxed)
        watchdog.join()
        return (reason, printed.bytes.withLock { $0 })
    }

    private final class Printed: Sendable {
        let bytes = Mutex<[UInt8]>([])
        let ended = Atomic<Bool>(false)
        func append(_ byte: UInt8) { bytes.withLock { $0.append(byte) } }
    }

    /// The kvm_pvm module, or anything else without hardware virtualisation behind it.
    private var softwareKVM: Bool { access("/sys/module/kvm_pvm", F_OK) == 0 }

    @Test("a guest that switches itself off ends the machine as power-off")
    func powerOff() throws { #expect(try run(Code.powerOff + Code.forever).0 == .powerOff) }

    @Test("a reset without a panic is a reset")
    func reset() throws { #expect(try run(Code.reset + Code.forever).0 == .reset) }

    @Test("a reset after a panic is a guest panic")
    func panic() throws { #expect(try run(Code.panic + Code.reset + Code.forever).0 == .guestPanic) }

    @Test("an exception with no handler is a triple fault")
    func tripleFault() throws { #expect(try run([0x0f, 0x0b] + Code.forever).0 == .tripleFault) }

    @Test("a guest that spins can be stopped", arguments: [1, 2])
    func stop(_ cpus: Int) throws { #expect(try run(Code.forever, cpus: cpus, seconds: 1).0 == .stopped) }

    @Test("what the guest prints on the serial port comes out in order")
    func serial() throws {
        let text = Array("hello".utf8)
        #expect(try run(text.flatMap { Code.out(0x3f8, $0) } + Code.powerOff).1 == text)
    }

    @Test("the CMOS has no update in progress and holes read as all ones")
    func ports() throws {
        let readCMOS: [UInt8] = [0xe4, 0x71] + Code.printAL
        let readHole: [UInt8] = [0x66, 0xba, 0x34, 0x12, 0xec] + Code.printAL
        #expect(try run(readCMOS + readHole + Code.powerOff).1 == [0, 0xff])
    }

    /// A host that interprets the guest's kernel answers 0 and has done it; any other says that nobody listens.
    @Test("the memory port fills memory where the kernel is interpreted, and is not there elsewhere")
    func memoryPort() throws {
        let fill = Code.movRDI(0x20_0000) + [0x40, 0xb6, 0x41] + [0xb9, 4, 0, 0, 0] + [0xb0, 1, 0xe4, 0xbb]  // mov sil, 'A'; mov ecx, 4; mov al, 1; in al, 0xbb
        let show: [UInt8] = Code.printAL + [0x8a, 0x47, 3] + Code.printAL + [0x8a, 0x47, 4] + Code.printAL
        #expect(try run(fill + show + Code.powerOff).1 == (softwareKVM ? [0, 0x41, 0] : [0xff, 0, 0]))
    }

    @Test("XSAVE and XRSTOR at ring 0 keep x87 and SSE state, whoever executes them")
    func xsave() throws {
        let enable: [UInt8] =
            [0x0f, 0x20, 0xe0, 0x0d, 0x00, 0x06, 0x04, 0x00, 0x0f, 0x22, 0xe0]  // cr4 |= OSFXSR | OSXMMEXCPT | OSXSAVE
            + [0x31, 0xc9, 0x31, 0xd2, 0xb8, 3, 0, 0, 0, 0x0f, 0x01, 0xd1]  // xsetbv(0, 3)
        // Only moves that the emulator of a software KVM knows: 0x5a goes into XMM0 from memory and back.
        let area = Code.movRDI(0x20_0000) + Code.movRDX(0) + Code.movRAX(3)
        let set = area + [0xc6, 0x87, 0, 4, 0, 0, 0x5a] + [0x0f, 0x10, 0x87, 0, 4, 0, 0]  // movb [rdi+0x400], 0x5a; movups xmm0, [rdi+0x400]
        let save: [UInt8] = [0x48, 0x0f, 0xae, 0x27]
        let readSaved: [UInt8] = [0x8a, 0x87, 0xa0, 0, 0, 0] + Code.printAL  // mov al, [rdi+160]
        let clear: [UInt8] = [0x0f, 0x10, 0x87, 0, 5, 0, 0]  // movups xmm0, [rdi+0x500]
        let restore = area + [0x48, 0x0f, 0xae, 0x2f]
        let show: [UInt8] = [0x0f, 0x11, 0x87, 0, 6, 0, 0] + [0x8a, 0x87, 0, 6, 0, 0] + Code.printAL
        let (reason, printed) = try run(enable + set + area + save + readSaved + clear + restore + show + Code.powerOff)
        #expect(reason == .powerOff)
        #expect(printed == [0x5a, 0x5a])
    }

    /// Without BootState.configureStateComponents the lab's second answer was 1.
    @Test("XCR0 has SSE state enabled before and after an exit")
    func xcr0() throws {
        let enable: [UInt8] = [0x0f, 0x20, 0xe0, 0x0d, 0x00, 0x06, 0x04, 0x00, 0x0f, 0x22, 0xe0]  // cr4 |= OSFXSR | OSXMMEXCPT | OSXSAVE
        let set: [UInt8] = [0x31, 0xc9, 0x31, 0xd2, 0xb8, 3, 0, 0, 0, 0x0f, 0x01, 0xd1]  // xsetbv(0, 3)
        let read: [UInt8] = [0x31, 0xc9, 0x0f, 0x01, 0xd0] + Code.printAL  // xgetbv(0)
        let (reason, printed) = try run(enable + set + read + read + Code.powerOff)
        #expect(reason == .powerOff)
        #expect(printed.map { $0 & 3 } == [3, 3])
    }

    @Test("FWAIT and POPCNT at ring 0 work, whoever executes them")
    func others() throws {
        let popcnt = Code.movRDI(0xff) + [0xf3, 0x48, 0x0f, 0xb8, 0xc7] + Code.printAL
        #expect(try run([0x9b] + popcnt + Code.powerOff).1 == [8])
    }
}
