import AgentAPI
import Glibc
public import Linux

/// An open file of the caller's that the container has under the same number (runc's `--preserve-fds`, systemd's `LISTEN_FDS`).
///
/// A file of this kernel cannot be open in the guest's. What only carries bytes is carried, and of a few devices the
/// guest has the like; the rest is refused.
public struct PassedDescriptor {
    enum Kind: Equatable {
        /// Pipes, and files: from where they are on, without seeking.
        case reading, writing
        /// A connection.
        case socket
        /// The name in `/dev`.
        case device(String)
    }

    /// Numbers from here on are not looked at.
    private static let limit = 1024
    private static let devices: [UInt32: String] = [3: "null", 5: "zero", 7: "full", 8: "random", 9: "urandom"]

    let number: Int32
    let kind: Kind
    let descriptor: Descriptor

    /// Numbers this process was started with, among `count` from 3 on; those that are closed stay so in the container.
    public static func inherited(_ count: Int) -> [Int32] {
        guard count > 0 else { return [] }
        return (3..<Int32(3 + min(count, limit - 3))).filter { isInherited($0) }
    }

    /// Takes them over: each closes when the container closes it.
    static func take(_ numbers: [Int32]) throws(SandboxError) -> [PassedDescriptor] {
        // All of them, before one is refused.
        let descriptors = numbers.map { ($0, Descriptor(adopting: $0)) }
        return try descriptors.map { number, descriptor throws(SandboxError) in
            let (kind, what) = kind(of: descriptor)
            guard let kind else {
                throw SandboxError(
                    .badInput, "descriptor \(number) is \(what): only pipes, files open one way, stream connections and devices like /dev/null can be passed into a virtual machine")
            }
            return PassedDescriptor(number: number, kind: kind, descriptor: descriptor)
        }
    }

    /// - Returns: nil and a description of what cannot be passed.
    private static func kind(of descriptor: Descriptor) -> (Kind?, String) {
        guard let status = try? descriptor.status(), let access = try? descriptor.accessMode() else { return (nil, "not open") }
        switch status.st_mode & S_IFMT {
        case S_IFIFO where access == O_RDONLY, S_IFREG where access == O_RDONLY: return (.reading, "")
        case S_IFIFO where access == O_WRONLY, S_IFREG where access == O_WRONLY: return (.writing, "")
        case S_IFIFO, S_IFREG: return (nil, "open to be read and written")
        case S_IFSOCK:
            if (try? descriptor.isListening()) != false { return (nil, "a socket that listens") }
            return (try? descriptor.isStreamSocket()) == true ? (.socket, "") : (nil, "a socket for datagrams")
        case S_IFCHR:
            guard status.st_rdev >> 8 == 1, let name = devices[UInt32(status.st_rdev & 0xff)] else {
                return (nil, descriptor.isTerminal ? "a terminal" : "a device")
            }
            return (.device(name), "")
        case S_IFDIR: return (nil, "a directory")
        default: return (nil, "a file of another kind")
        }
    }

    /// As the agent is told; `id` names its stream, if it has one.
    func message(_ id: UInt64) -> AgentAPI.PassedDescriptor {
        .with {
            $0.number = UInt32(number)
            switch kind {
            case .reading: $0.reading = id
            case .writing: $0.writing = id
            case .socket: $0.socket = id
            case .device(let name): $0.device = name
            }
        }
    }

    var isCarried: Bool { if case .device = kind { false } else { true } }
}
