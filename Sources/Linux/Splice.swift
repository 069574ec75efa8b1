import CLinux
import Glibc

/// Moves bytes between two descriptors, of which one is a pipe, without copying them through this process (splice(2)).
///
/// - Returns: how many; 0 at the source's end.
/// - Throws: `EAGAIN` when the source is empty or the sink full.
public func splice(from source: Descriptor, to sink: Descriptor, atMost count: Int) throws(SystemError) -> Int {
    // SPLICE_F_MOVE | SPLICE_F_NONBLOCK (fcntl.h).
    try systemCall("splice", SYS_splice, Int(source.raw), 0, Int(sink.raw), 0, count, 3)
}
