import Glibc
import Linux

/// Takes from this process what a guest that broke into it could use: paths, networks, other processes,
/// capabilities, and on each thread the system calls it has no business with.
///
/// For a process with one thread that has opened what it needs. Everything that can fail does so here, before the guest
/// runs; a thread that cannot be confined ends the process.
public enum Jail {
    /// Enters namespaces of its own (as root the user namespace stays), makes the working directory the root and keeps
    /// of root's capabilities those a file server needs. Threads made later confine themselves by their name.
    ///
    /// - Parameters:
    ///   - keepingWorkingDirectory: whether the working directory becomes the root; an empty directory does otherwise.
    ///   - open: opens what must come from outside and belong to the new namespaces.
    public static func enter<Opened>(keepingWorkingDirectory: Bool, _ open: () throws -> Opened) throws(MachineError) -> Opened {
        try stage("enter the jail") {
            try enterNewNamespaces()
            let opened = try open()
            try enterNewRoot(keepingWorkingDirectory: keepingWorkingDirectory)
            try ThreadKind.fileServerCapabilities.limitProcess()
            try setNoNewPrivileges()
            try hideProcessMemory()
            Thread.setPrologue { name in
                do { try confineThread(as: ThreadKind(threadName: name)) } catch {
                    try? Descriptor.standardError.writeAll("microvm-vmm: thread \(name): \(error)\n")
                    abort()
                }
            }
            return opened
        }
    }

    /// Leaves the calling thread what its kind needs. It cannot be taken back.
    public static func confineThread(as kind: ThreadKind) throws(SystemError) {
        try kind.capabilities.limitThread()
        try SystemCallFilter(kind.rules).apply()
    }
}
