import CLinux
import Glibc
import GuestMemory
import KVM
import Linux

/// Runs one vCPU on its own thread: KVM_RUN, then whatever the exit asks for.
final class VCPURunner: Sendable {
    /// Interrupts KVM_RUN; its handler does nothing.
    static let kickSignal: Int32 = SIGUSR1

    private let vcpu: VCPU
    private let ports: PortBus
    private let mmio: MMIOBus
    /// Only on a KVM that emulates the guest kernel.
    private let assist: InstructionAssist?
    private let memory: GuestMemory
    private let gate: Gate
    private let requested: @Sendable (PortBus.Request) -> Void

    init(
        _ vcpu: VCPU, memory: GuestMemory, ports: PortBus, mmio: MMIOBus, assist: InstructionAssist?, gate: Gate,
        requested: @escaping @Sendable (PortBus.Request) -> Void
    ) {
        self.memory = memory
        self.vcpu = vcpu
        self.ports = ports
        self.mmio = mmio
        self.assist = assist
        self.gate = gate
        self.requested = requested
    }

    /// Runs until the machine is to end; nil if `isStopping` said so.
    func run(isStopping: @Sendable () -> Bool, profile: Profile?) -> EndReason? {
        // KVM completes an access it exited for, register and RIP, in the next KVM_RUN: until then the vCPU's state is
        // that of neither before nor after, and it must not stand at the gate.
        var isWithinAccess = false
        while true {
            if !isWithinAccess { gate.pass() }
            if isStopping() { return nil }
            do {
                let exit = try vcpu.runUntilExit()
                isWithinAccess = exit.isAccess
                switch exit {
                case .portRead(let port, let size, let count): vcpu.completePortRead(try read(port, count: size * count))
                case .portWrite(let port, _, let data):
                    if let request = ports.write(port, data) { requested(request) }
                case .mmioRead(let address, let size): vcpu.completeMMIORead(mmio.read(address, size: size))
                case .mmioWrite(let address, let size, let value): mmio.write(address, value, size: size)
                case .interrupted: if let profile { profile.record(try Context(vcpu, memory)) }
                case .halt: continue
                case .shutdown: return .tripleFault
                case .systemEvent(let type): return type == UInt32(KVM_SYSTEM_EVENT_SHUTDOWN) ? .powerOff : .reset
                case .internalError(let suberror, let data):
                    if let assist, suberror == UInt32(KVM_INTERNAL_ERROR_EMULATION), try assist.complete(on: vcpu) { continue }
                    return .error(describe("KVM internal error \(suberror) \(data.map { String($0, radix: 16) })"))
                case .entryFailed(let reason): return .error(describe("the CPU refused to enter the guest (0x\(String(reason, radix: 16)))"))
                case .other(let reason): return .error(describe("unexpected KVM exit \(reason)"))
                }
            } catch {
                return .error(describe("\(error)"))
            }
        }
    }

    private func read(_ port: UInt16, count: Int) throws -> [UInt8] {
        if port == MemoryPort.number, count == 1, assist != nil {
            let context = try Context(vcpu, memory)
            return [try MemoryPort.answer(context.registers, context.tables)]
        }
        return ports.read(port, count: count)
    }

    /// A message with where the guest was and which bytes it was executing.
    private func describe(_ what: String) -> String {
        guard let context = try? Context(vcpu, memory) else { return "vCPU \(vcpu.index): \(what)" }
        let bytes = context.fetch(15).map { String($0, radix: 16) }.joined(separator: " ")
        return "vCPU \(vcpu.index): \(what) at RIP 0x\(String(context.registers.rip, radix: 16)), instruction \(bytes)"
    }
}
