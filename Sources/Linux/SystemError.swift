import Glibc
@_exported import struct SystemPackage.Errno

/// A system call that failed: which step, and what the kernel said.
public struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was being done, in the caller's words: `"open /etc/passwd"`.
    public let stage: String
    /// The kernel's answer.
    public let errno: Errno

    public init(_ stage: String, _ errno: Errno) {
        self.stage = stage
        self.errno = errno
    }

    /// Takes the calling thread's `errno`; call it before anything else can overwrite that.
    public static func current(_ stage: String) -> SystemError {
        SystemError(stage, Errno(rawValue: Glibc.errno))
    }

    public var description: String { "\(stage): \(errno)" }
}

/// Turns a C result of -1 into a thrown ``SystemError``.
@inlinable
@discardableResult
public func check<Result: FixedWidthInteger>(_ result: Result, _ stage: @autoclosure () -> String) throws(SystemError) -> Result {
    if result == -1 { throw SystemError.current(stage()) }
    return result
}

/// As ``check(_:_:)``, calling again when a signal interrupted the call.
@inlinable
@discardableResult
public func checkRetrying<Result: FixedWidthInteger>(
    _ stage: @autoclosure () -> String, _ call: () -> Result
) throws(SystemError) -> Result {
    while true {
        let result = call()
        if result != -1 { return result }
        let error = SystemError.current(stage())
        if error.errno != .interrupted { throw error }
    }
}
