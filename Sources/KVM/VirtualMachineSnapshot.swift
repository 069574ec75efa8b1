import CLinux
import Linux

extension VirtualMachine {
    /// What KVM keeps of a machine beside its vCPUs: interrupt controllers, timer and clock.
    public struct State: Sendable {
        /// PIC master, PIC slave and I/O APIC; 512 bytes each.
        public var interruptControllers: [[UInt8]]
        public var timer: kvm_pit_state2
        /// The kvmclock, nanoseconds since the guest's boot.
        public var clock: UInt64

        public init(interruptControllers: [[UInt8]], timer: kvm_pit_state2, clock: UInt64) {
            self.interruptControllers = interruptControllers
            self.timer = timer
            self.clock = clock
        }

        public static let chips: [Int32] = [Int32(KVM_IRQCHIP_PIC_MASTER), Int32(KVM_IRQCHIP_PIC_SLAVE), Int32(KVM_IRQCHIP_IOAPIC)]
        public static let chipSize = 512
    }

    /// Reads the state of a machine whose vCPUs stand still.
    public func state() throws(SystemError) -> State {
        var chips: [[UInt8]] = []
        for chip in State.chips {
            var value = ckvm_irqchip()
            value.chip = UInt32(chip)
            try unsafe ioctl(descriptor, cKVM_GET_IRQCHIP, &value, "KVM_GET_IRQCHIP")
            chips.append(unsafe withUnsafeBytes(of: &value.state) { unsafe Array($0) })
        }
        var timer = kvm_pit_state2()
        try unsafe ioctl(descriptor, cKVM_GET_PIT2, &timer, "KVM_GET_PIT2")
        var clock = kvm_clock_data()
        try unsafe ioctl(descriptor, cKVM_GET_CLOCK, &clock, "KVM_GET_CLOCK")
        return State(interruptControllers: chips, timer: timer, clock: clock.clock)
    }

    /// Gives the machine a state. After its vCPUs have theirs: pending interrupts go to their local APICs.
    public func restore(_ state: State) throws(SystemError) {
        guard state.interruptControllers.count == State.chips.count else { throw SystemError("interrupt controllers", .invalidArgument) }
        for (chip, bytes) in zip(State.chips, state.interruptControllers) {
            var value = ckvm_irqchip()
            value.chip = UInt32(chip)
            unsafe withUnsafeMutableBytes(of: &value.state) { unsafe $0.copyBytes(from: bytes.prefix($0.count)) }
            try unsafe ioctl(descriptor, cKVM_SET_IRQCHIP, &value, "KVM_SET_IRQCHIP")
        }
        var timer = state.timer
        try unsafe ioctl(descriptor, cKVM_SET_PIT2, &timer, "KVM_SET_PIT2")
        // Without KVM_CLOCK_REALTIME: for the guest no time has passed. Its wall clock is the agent's business.
        var clock = kvm_clock_data()
        clock.clock = state.clock
        try unsafe ioctl(descriptor, cKVM_SET_CLOCK, &clock, "KVM_SET_CLOCK")
    }
}
