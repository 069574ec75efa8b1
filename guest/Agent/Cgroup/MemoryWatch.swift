import CLinux
import Glibc
import Linux

/// Waits for the next out-of-memory kill of a container: `memory.events` is a file that polls.
final class MemoryWatch {
    private let loop: EventLoop
    private let file: Descriptor
    private let container: Container
    private let before: UInt64
    private var complete: ((UInt64) -> Void)?

    /// - Parameter complete: called with the kills so far, at the next one or at the container's end.
    static func begin(_ container: Container, on loop: EventLoop, _ complete: @escaping (UInt64) -> Void) throws(SystemError) {
        let watch = try MemoryWatch(container, loop, complete)
        // EPOLLPRI: the file changed.
        try loop.add(watch.file, EventLoop.Interest(rawValue: EPOLLPRI.rawValue).union(.edgeTriggered)) { _ in watch.check() }
        container.main.wait { _ in watch.end() }
    }

    private init(_ container: Container, _ loop: EventLoop, _ complete: @escaping (UInt64) -> Void) throws(SystemError) {
        self.container = container
        self.loop = loop
        self.complete = complete
        before = container.cgroup.memoryKills
        file = try Descriptor.open("memory.events", O_RDONLY, at: container.cgroup.directory)
        // A change is told only of what was read.
        _ = try file.read(upTo: 4096)
    }

    private func check() {
        _ = try? file.read(upTo: 4096, at: 0)
        if container.cgroup.memoryKills > before { end() }
    }

    private func end() {
        loop.remove(file)
        complete?(container.cgroup.memoryKills)
        complete = nil
    }
}
