/// The kernel's plain C structures as bytes: what a snapshot keeps of them.
///
/// Any bytes are a value of such a structure. KVM judges what it is given; nothing here reads a length or index
/// out of one.
public enum PlainStructure {
    public static func bytes<Value: BitwiseCopyable>(of value: Value) -> [UInt8] {
        unsafe withUnsafeBytes(of: value) { unsafe Array($0) }
    }

    /// Nil unless `bytes` are as many as the structure has.
    public static func value<Value: BitwiseCopyable>(_ type: Value.Type = Value.self, from bytes: [UInt8]) -> Value? {
        guard bytes.count == MemoryLayout<Value>.size else { return nil }
        return unsafe bytes.withUnsafeBytes { unsafe $0.loadUnaligned(as: Value.self) }
    }
}
