import CLinux
import Glibc
import KVM
import Linux
import Testing

@Suite("KVM", .enabled(if: access("/dev/kvm", R_OK | W_OK) == 0, "THIS MACHINE HAS NO /dev/kvm: KVM is not tested here"))
struct SystemTests {
    @Test("the API version is 12 and what a machine needs is there")
    func capabilities() throws {
        let system = try System()
        for capability in [KVM_CAP_IRQCHIP, KVM_CAP_USER_MEMORY, KVM_CAP_IOEVENTFD, KVM_CAP_IRQFD, KVM_CAP_READONLY_MEM] {
            #expect(system.value(ofCapability: Int32(capability)) > 0)
        }
    }

    @Test("guests are told of the deadline timer where KVM has one, whichever way it says so")
    func deadlineTimer() throws {
        let system = try System()
        let features = try #require(try system.supportedCPUID().first { $0.function == 1 })
        #expect(system.value(ofCapability: KVM_CAP_TSC_DEADLINE_TIMER) == 0 || features.ecx & 1 << 24 != 0)
    }

    @Test("a file that is not /dev/kvm is refused")
    func notKVM() throws {
        let file = try Descriptor.open("/dev/null", O_RDWR)
        #expect(throws: SystemError.self) { try System(file) }
    }

    @Test("registers read back as they were set")
    func registers() throws {
        let machine = try System().createVirtualMachine()
        try machine.createIRQChip()
        let vcpu = try machine.createVCPU(0)
        var registers = try vcpu.registers()
        registers.rax = 0x1234_5678_9abc_def0
        registers.rflags = 2
        try vcpu.setRegisters(registers)
        #expect(try vcpu.registers().rax == 0x1234_5678_9abc_def0)
    }

    @Test("a vCPU asked to exit does so before it runs anything")
    func immediateExit() throws {
        let machine = try System().createVirtualMachine()
        try machine.createIRQChip()
        let vcpu = try machine.createVCPU(0)
        vcpu.requestExit()
        #expect(try vcpu.runUntilExit() == .interrupted)
    }
}
