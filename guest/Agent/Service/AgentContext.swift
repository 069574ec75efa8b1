import CLinux
import Glibc
import Linux

/// What the agent's parts share: its loop, its children, its cgroups.
final class AgentContext {
    let loop: EventLoop
    let reaper: Reaper
    let streams: StreamTable
    let cgroups: CgroupTree
    let spares: Spares
    let null: Descriptor
    /// A directory nobody can put anything into, where children find it.
    let emptyDirectory: String?
    /// To come back from a container's PID namespace, which a child is made in.
    private let ownPIDNamespace: Descriptor

    init(on loop: EventLoop, cgroupRoot: String, emptyDirectory: String?, sparesDirectory: String?, adoptingOrphans: Bool) throws(SystemError) {
        self.emptyDirectory = emptyDirectory
        spares = Spares(in: sparesDirectory)
        self.loop = loop
        reaper = try Reaper(on: loop, adoptingOrphans: adoptingOrphans)
        streams = StreamTable(on: loop)
        cgroups = try CgroupTree(cgroupRoot)
        null = try Descriptor.open("/dev/null", O_RDWR)
        ownPIDNamespace = try Descriptor.open("/proc/self/ns/pid", O_RDONLY)
    }

    /// Makes children of `body` members of a PID namespace. Only this thread's children: there is no other thread to have any.
    func inPIDNamespace<Result>(_ namespace: Descriptor?, _ body: () throws(SystemError) -> Result) throws(SystemError) -> Result {
        guard let namespace else { return try body() }
        try enter(namespace, CLONE_NEWPID)
        defer { try? enter(ownPIDNamespace, CLONE_NEWPID) }
        return try body()
    }

    /// Removes a cgroup whose processes have ended or are about to, trying for a few seconds.
    func remove(_ cgroup: Cgroup, attempts: Int = 10, _ complete: @escaping (SystemError?) -> Void) {
        do {
            try cgroup.remove()
            complete(nil)
        } catch where error.errno == .resourceBusy && attempts > 0 {
            let delay = 5_000_000 << UInt64(10 - attempts)
            loop.schedule(afterNanoseconds: UInt64(delay)) { self.remove(cgroup, attempts: attempts - 1, complete) }
        } catch {
            complete(error)
        }
    }
}
