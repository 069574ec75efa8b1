import CLinux
import Glibc

/// Locks on single bytes of a file, owned by the open file and gone with it, however its process ends.
extension Descriptor {
    /// Takes the lock on byte `position`, which needs not exist. The descriptor must be writable.
    ///
    /// - Returns: whether it could be had.
    public func tryLock(byte position: Int) throws(SystemError) -> Bool {
        if clinux_lock_byte(raw, position) == 0 { return true }
        let error = SystemError.current("lock")
        if error.errno == .wouldBlock || error.errno == .permissionDenied { return false }
        throw error
    }

    /// Whether another open file has the lock on byte `position`. Asking disturbs nobody.
    public func isLocked(byte position: Int) throws(SystemError) -> Bool {
        try check(clinux_is_byte_locked(raw, position), "test lock") == 1
    }
}
