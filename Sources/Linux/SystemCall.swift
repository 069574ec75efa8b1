import CLinux
import Glibc

/// A system call glibc has no Swift-visible function for.
///
/// - Parameter arguments: at most six; pointers as bit patterns, valid during the call.
@discardableResult
func systemCall(_ stage: @autoclosure () -> String, _ number: Int32, _ arguments: Int...) throws(SystemError) -> Int {
    var six = arguments
    six += [Int](repeating: 0, count: max(0, 6 - six.count))
    let result = clinux_syscall(Int(number), six[0], six[1], six[2], six[3], six[4], six[5])
    guard result >= 0 else { throw SystemError(stage(), Errno(rawValue: Int32(truncatingIfNeeded: -result))) }
    return result
}

/// The address of `value` as a system call's argument, for the length of `body`.
func withAddress<Value, Result>(of value: inout Value, _ body: (Int) throws(SystemError) -> Result) throws(SystemError) -> Result {
    let outcome = unsafe withUnsafeMutablePointer(to: &value) { pointer in
        Swift.Result { () throws(SystemError) -> Result in try body(Int(bitPattern: pointer)) }
    }
    return try outcome.get()
}
