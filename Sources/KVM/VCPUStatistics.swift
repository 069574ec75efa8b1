import CLinux
import Linux

/// What KVM counts of a vCPU: exits, emulated instructions, … (KVM API 4.133, KVM_GET_STATS_FD; Linux 5.14).
///
/// Read by any thread. Where KVM interprets the guest's kernel, `insn_emulation` is the one measure of a start that is not noise.
public struct VCPUStatistics: Sendable {
    private struct Counter: Sendable {
        let name: String
        let offset: Int
    }

    private let file: Descriptor
    private let counters: [Counter]

    private static let headerSize = 24
    private static let descriptorSize = 16
    /// Names are 48 bytes, and there are some 50 counters.
    private static let tableLimit = 64 << 10

    /// - Parameter names: the counters wanted; what this KVM does not count is left out.
    public init(of vcpu: VCPU, _ names: Set<String>) throws(SystemError) {
        let number = clinux_ioctl(vcpu.descriptor.raw, cKVM_GET_STATS_FD, 0)
        guard number >= 0 else { throw SystemError.current("KVM_GET_STATS_FD") }
        file = Descriptor(adopting: number)
        // struct kvm_stats_header: flags, name_size, num_desc, id_offset, desc_offset, data_offset
        let header = try file.read(upTo: Self.headerSize, at: 0)
        guard header.count == Self.headerSize else { throw SystemError("KVM_GET_STATS_FD: header", .ioError) }
        let fields = stride(from: 0, to: Self.headerSize, by: 4).map { Int(Self.number(header[$0..<$0 + 4])) }
        let size = Self.descriptorSize + fields[1]
        guard fields[1] < 4096, fields[2] <= Self.tableLimit / size else { throw SystemError("KVM_GET_STATS_FD: table", .ioError) }
        let table = try file.read(upTo: size * fields[2], at: fields[4])
        // struct kvm_stats_desc: flags, exponent, size (values), offset, bucket_size, name
        counters = stride(from: 0, through: table.count - size, by: size).compactMap { start in
            let name = String(decoding: table[(start + Self.descriptorSize)..<(start + size)].prefix { $0 != 0 }, as: UTF8.self)
            guard names.contains(name) else { return nil }
            return Counter(name: name, offset: fields[5] + Int(Self.number(table[start + 8..<start + 12])))
        }
    }

    /// Name and value of each, as they are now.
    public func values() throws(SystemError) -> [(name: String, value: UInt64)] {
        try counters.map { counter throws(SystemError) in (counter.name, Self.number(try file.read(upTo: 8, at: counter.offset))) }
    }

    private static func number(_ bytes: some BidirectionalCollection<UInt8>) -> UInt64 {
        bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
