import CLinux
import Glibc

extension Descriptor {
    /// The size in bytes of the tmpfs this file is on; nil when it is on another file system, or on one without a limit.
    public func memoryFileSystemSize() throws(SystemError) -> UInt64? {
        let size = try check(clinux_tmpfs_size(raw), "statfs")
        return size > 0 ? UInt64(size) : nil
    }
}

/// The parts of a device number (sys/sysmacros.h).
public func deviceMajor(_ device: dev_t) -> UInt32 { clinux_major(device) }
public func deviceMinor(_ device: dev_t) -> UInt32 { clinux_minor(device) }
