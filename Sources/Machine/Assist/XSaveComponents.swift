import CLinux

/// The XSAVE area's standard layout on this CPU and what XSAVE and XRSTOR do with it
/// (Intel SDM volume 1, 13.4, 13.7 and 13.8).
struct XSaveComponents: Sendable {
    private struct Component: Sendable {
        let bit: Int
        let range: Range<Int>
    }

    /// Components behind the legacy region and the header, from CPUID leaf 0xD.
    private let extended: [Component]

    private static let x87: UInt64 = 1
    private static let sse: UInt64 = 2
    private static let avx: UInt64 = 4
    /// FCW…FDP (but not MXCSR), then ST0–ST7.
    private static let x87Ranges = [0..<24, 32..<160]
    private static let mxcsrRange = 24..<32
    private static let xmmRange = 160..<416
    private static let headerRange = 512..<576
    private static let areaLimit = 4096
    /// Initial FCW: all exceptions masked, double extended precision.
    private static let initialFCW: [UInt8] = [0x7f, 0x03]

    init(cpuid: [kvm_cpuid_entry2]) {
        extended = cpuid.compactMap { entry in
            // ECX bit 0: a supervisor component, which XSAVE does not touch.
            guard entry.function == 0xd, (2..<63).contains(entry.index), entry.eax > 0, entry.ecx & 1 == 0 else { return nil }
            let start = Int(entry.ebx)
            let end = start + Int(entry.eax)
            guard start >= Self.headerRange.upperBound, end <= Self.areaLimit else { return nil }
            return Component(bit: Int(entry.index), range: start..<end)
        }
    }

    /// XSAVE of the `requested` components of `area` (as KVM gives it) to guest memory.
    func save(_ requested: UInt64, from area: [UInt8], to address: UInt64, _ context: Context) throws {
        guard area.count >= Self.headerRange.upperBound else { throw GuestFault.generalProtection }
        var ranges = ranges(of: requested)
        if requested & (Self.sse | Self.avx) != 0 { ranges.append(Self.mxcsrRange) }
        for range in ranges where range.upperBound <= area.count {
            try context.write(Array(area[range]), to: address &+ UInt64(range.lowerBound))
        }
        let header = address &+ UInt64(Self.headerRange.lowerBound)
        let old = Self.value(try context.read(header, 8)[...])
        let inUse = Self.value(area[512..<520])
        try context.write(Self.bytes(old & ~requested | inUse & requested), to: header)
    }

    /// `area` after XRSTOR of the `requested` components from guest memory.
    func restore(_ requested: UInt64, enabled: UInt64, over area: [UInt8], from address: UInt64, _ context: Context) throws -> [UInt8] {
        let header = try context.read(address &+ UInt64(Self.headerRange.lowerBound), Self.headerRange.count)
        let present = Self.value(header[0..<8])
        // The compacted format and unknown components are general protection faults.
        guard present & ~enabled == 0, header[8..<24].allSatisfy({ $0 == 0 }), area.count >= Self.headerRange.upperBound else {
            throw GuestFault.generalProtection
        }

        var result = area
        for bit in 0..<63 where requested >> UInt64(bit) & 1 != 0 {
            for range in ranges(of: 1 << UInt64(bit)) where range.upperBound <= result.count {
                if present >> UInt64(bit) & 1 != 0 {
                    result.replaceSubrange(range, with: try context.read(address &+ UInt64(range.lowerBound), range.count))
                } else {
                    result.replaceSubrange(range, with: repeatElement(0, count: range.count))
                    if range.lowerBound == 0 { result.replaceSubrange(0..<2, with: Self.initialFCW) }
                }
            }
        }
        if requested & (Self.sse | Self.avx) != 0 {
            result.replaceSubrange(24..<28, with: try context.read(address &+ UInt64(Self.mxcsrRange.lowerBound), 4))
        }
        let inUse = Self.value(area[512..<520])
        result.replaceSubrange(512..<520, with: Self.bytes(inUse & ~requested | present & requested))
        return result
    }

    private func ranges(of requested: UInt64) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        if requested & Self.x87 != 0 { ranges += Self.x87Ranges }
        if requested & Self.sse != 0 { ranges.append(Self.xmmRange) }
        return ranges + extended.filter { requested >> UInt64($0.bit) & 1 != 0 }.map(\.range)
    }

    private static func value(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }

    private static func bytes(_ value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
}
