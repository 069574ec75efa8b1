import CLinux
import Glibc

/// Extended attributes of the file behind an `O_PATH` descriptor, for which the kernel has no calls. They
/// go by the descriptor's number as a path: the calling thread's working directory must be
/// `/proc/self/fd` (``ThreadContext``).
extension Descriptor {
    /// Copies the value into `buffer` (or nothing, into an empty one): its length.
    public func attribute(_ name: KernelString, into buffer: inout [UInt8]) throws(SystemError) -> Int {
        try unsafe buffer.withUnsafeMutableBytes { buffer -> Result<Int, SystemError> in
            Result { () throws(SystemError) -> Int in
                try check(unsafe clinux_get_attribute(raw, name.characters, buffer.baseAddress, buffer.count), "getxattr")
            }
        }.get()
    }

    /// Copies the names, each ended by a NUL, into `buffer` (or nothing, into an empty one): their length.
    public func attributeNames(into buffer: inout [UInt8]) throws(SystemError) -> Int {
        try unsafe buffer.withUnsafeMutableBytes { buffer -> Result<Int, SystemError> in
            Result { () throws(SystemError) -> Int in
                try check(unsafe clinux_list_attributes(raw, buffer.baseAddress, buffer.count), "listxattr")
            }
        }.get()
    }

    /// - Parameter flags: `XATTR_CREATE`, `XATTR_REPLACE` or 0.
    public func setAttribute(_ name: KernelString, to value: [UInt8], flags: Int32) throws(SystemError) {
        try unsafe value.withUnsafeBytes { value -> Result<Void, SystemError> in
            Result { () throws(SystemError) in
                try check(unsafe clinux_set_attribute(raw, name.characters, value.baseAddress, value.count, flags), "setxattr")
            }
        }.get()
    }

    public func removeAttribute(_ name: KernelString) throws(SystemError) {
        try check(unsafe clinux_remove_attribute(raw, name.characters), "removexattr")
    }
}
