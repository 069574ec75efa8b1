/// Arithmetic on a number the guest chose went out of range.
public struct GuestArithmeticError: Error, Equatable, Sendable, CustomStringConvertible {
    public var description: String { "a number from the guest overflows" }
}

/// A number the guest chose. It has no `+`: Swift's traps on overflow, and a trap here would let a guest
/// stop its VMM at will. Arithmetic throws instead; comparison is free.
public struct GuestInteger<Value: FixedWidthInteger & Sendable>: Comparable, Sendable {
    public let value: Value

    public init(_ value: Value) {
        self.value = value
    }

    public static func < (left: Self, right: Self) -> Bool { left.value < right.value }

    public func adding(_ other: Value) throws(GuestArithmeticError) -> Self { try Self.whole(value.addingReportingOverflow(other)) }

    public func subtracting(_ other: Value) throws(GuestArithmeticError) -> Self { try Self.whole(value.subtractingReportingOverflow(other)) }

    public func multiplied(by other: Value) throws(GuestArithmeticError) -> Self { try Self.whole(value.multipliedReportingOverflow(by: other)) }

    /// The same number as another type, if it fits.
    public func converted<Other: FixedWidthInteger>(to type: Other.Type = Other.self) throws(GuestArithmeticError) -> Other {
        guard let other = Other(exactly: value) else { throw GuestArithmeticError() }
        return other
    }

    private static func whole(_ result: (partialValue: Value, overflow: Bool)) throws(GuestArithmeticError) -> Self {
        if result.overflow { throw GuestArithmeticError() }
        return Self(result.partialValue)
    }
}
