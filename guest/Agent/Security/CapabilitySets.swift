import OCI

/// The five sets of capabilities(7) as bits. Names no kernel knows grant nothing (config.md).
struct CapabilitySets: Equatable {
    var bounding: UInt64
    var effective: UInt64
    var inheritable: UInt64
    var permitted: UInt64
    var ambient: UInt64

    init(_ capabilities: LinuxCapabilities) {
        bounding = Self.bits(capabilities.bounding)
        effective = Self.bits(capabilities.effective)
        inheritable = Self.bits(capabilities.inheritable)
        permitted = Self.bits(capabilities.permitted)
        // The kernel raises only what is permitted and inheritable.
        ambient = Self.bits(capabilities.ambient) & permitted & inheritable
    }

    /// To be taken out of the bounding set.
    var dropped: [Int32] { Self.numbers(~bounding) }
    /// To be raised in the ambient set.
    var raised: [Int32] { Self.numbers(ambient) }

    private static let known: [String: Int] = Dictionary(
        uniqueKeysWithValues: Capability.names.enumerated().map { ($0.element, $0.offset) })

    private static func bits(_ names: [String]) -> UInt64 {
        names.reduce(0) { bits, name in known[name].map { bits | 1 << UInt64($0) } ?? bits }
    }

    private static func numbers(_ bits: UInt64) -> [Int32] {
        Capability.names.indices.filter { bits & 1 << UInt64($0) != 0 }.map { Int32($0) }
    }
}
