import CLinux
import Linux

/// A virtual CPU. Its ioctls belong to one thread, but for ``requestExit()``.
@safe
public final class VCPU: @unchecked Sendable {
    public let index: Int
    let descriptor: Descriptor
    private let runMapping: Mapping
    private var run: UnsafeMutablePointer<kvm_run> { unsafe runMapping.base.assumingMemoryBound(to: kvm_run.self) }

    init(index: Int, _ descriptor: Descriptor, runSize: Int) throws(SystemError) {
        self.index = index
        self.descriptor = descriptor
        runMapping = try Mapping(descriptor, count: runSize, access: [.read, .write], sharing: .shared)
    }

    /// Why a vCPU came back to this process.
    public enum Exit: Equatable, Sendable {
        /// `IN`: answer with ``completePortRead(_:)``.
        case portRead(port: UInt16, size: Int, count: Int)
        /// `OUT`: the bytes written, all repetitions of a string instruction together.
        case portWrite(port: UInt16, size: Int, data: [UInt8])
        /// Answer with ``completeMMIORead(_:)``.
        case mmioRead(address: UInt64, size: Int)
        case mmioWrite(address: UInt64, size: Int, value: UInt64)
        case halt
        /// Triple fault.
        case shutdown
        case systemEvent(UInt32)
        /// KVM cannot go on: suberror 1 is an instruction its emulator lacks.
        case internalError(suberror: UInt32, data: [UInt64])
        case entryFailed(hardwareReason: UInt64)
        /// A signal or ``requestExit()``.
        case interrupted
        case other(UInt32)

        /// A port or MMIO access, which KVM completes when the vCPU runs again.
        public var isAccess: Bool {
            switch self {
            case .portRead, .portWrite, .mmioRead, .mmioWrite: true
            default: false
            }
        }
    }

    /// Runs the guest until it needs this process.
    ///
    /// The two exits that happen per request, MMIO and port accesses of one element, allocate nothing but
    /// the bytes of a port write.
    public func runUntilExit() throws(SystemError) -> Exit {
        if clinux_ioctl(descriptor.raw, cKVM_RUN, 0) != 0 {
            let error = SystemError.current("KVM_RUN")
            if error.errno == .interrupted || error.errno == .resourceTemporarilyUnavailable { return .interrupted }
            throw error
        }
        var exit = ckvm_exit()
        unsafe ckvm_read_exit(run, &exit)
        switch Int32(exit.reason) {
        case KVM_EXIT_IO:
            let port = UInt16(truncatingIfNeeded: exit.address)
            let size = Int(exit.size)
            guard exit.is_write != 0 else { return .portRead(port: port, size: size, count: Int(exit.count)) }
            return .portWrite(port: port, size: size, data: portData(exit, count: size * Int(exit.count)))
        case KVM_EXIT_MMIO:
            if exit.is_write != 0 { return .mmioWrite(address: exit.address, size: Int(exit.size), value: exit.data) }
            return .mmioRead(address: exit.address, size: Int(exit.size))
        case KVM_EXIT_HLT: return .halt
        case KVM_EXIT_SHUTDOWN: return .shutdown
        case KVM_EXIT_SYSTEM_EVENT: return .systemEvent(exit.detail)
        case KVM_EXIT_INTERNAL_ERROR:
            let data = unsafe withUnsafeBytes(of: exit.detail_data) { unsafe Array($0.bindMemory(to: UInt64.self).prefix(Int(exit.count))) }
            return .internalError(suberror: exit.detail, data: data)
        case KVM_EXIT_FAIL_ENTRY: return .entryFailed(hardwareReason: exit.detail_data.0)
        case KVM_EXIT_INTR: return .interrupted
        default: return .other(exit.reason)
        }
    }

    private func portData(_ exit: ckvm_exit, count: Int) -> [UInt8] {
        let offset = Int(exit.data_offset)
        guard offset >= 0, count >= 0, offset <= runMapping.count, count <= runMapping.count - offset else { return [] }
        return unsafe Array(UnsafeRawBufferPointer(start: runMapping.base + offset, count: count))
    }

    /// Gives a port read its bytes: `size × count` of them, the missing ones zero.
    public func completePortRead(_ bytes: [UInt8]) {
        var exit = ckvm_exit()
        unsafe ckvm_read_exit(run, &exit)
        let offset = Int(exit.data_offset)
        let count = Int(exit.size) * Int(exit.count)
        guard offset >= 0, offset <= runMapping.count, count <= runMapping.count - offset else { return }
        for index in 0..<count {
            unsafe runMapping.base.storeBytes(of: index < bytes.count ? bytes[index] : 0, toByteOffset: offset + index, as: UInt8.self)
        }
    }

    /// Gives an MMIO read its value.
    public func completeMMIORead(_ value: UInt64) {
        unsafe ckvm_set_mmio_data(run, value)
    }

    /// Makes the next (or, with a signal to its thread, the current) ``runUntilExit()`` return `interrupted`.
    public func requestExit() {
        unsafe run.pointee.immediate_exit = 1
    }

    /// Takes ``requestExit()`` back.
    public func clearExitRequest() {
        unsafe run.pointee.immediate_exit = 0
    }
}
