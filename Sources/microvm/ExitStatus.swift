import Linux

/// What `microvm` exits with when it fails itself. A container's own status is passed on as it is.
enum ExitStatus: Int32 {
    /// The command line (ArgumentParser's own value, EX_USAGE of sysexits.h).
    case usage = 64
    /// config.json or another input is malformed, contradictory or asks for what a sandbox cannot do.
    case badInput = 65
    /// A bundle, root file system, kernel, guest image or program of ours is not there.
    case missing = 66
    /// This host cannot run virtual machines.
    case hostUnable = 69
    /// Something in microvm or its guest agent that should not happen.
    case internalError = 70
    /// A system call failed on the host.
    case systemCall = 71
    /// The container already exists, or its state cannot be made.
    case cannotCreate = 73
    case noPermission = 77
    /// The virtual machine monitor ended: killed, or failed.
    case monitorEnded = 120
    /// The guest's kernel panicked.
    case guestPanic = 121
    /// The guest reset itself, shut down or faulted under the container.
    case guestStopped = 122
    /// The guest's agent ended, or answered what it must not.
    case agentLost = 123
    /// The guest did not answer in time.
    case timedOut = 124
    case notExecutable = 126
    case notFound = 127

    static let help = """
        Exit status: the container's own (128 + N when signal N ended it). When microvm fails instead: \
        64 command line, 65 bundle malformed or unsupported, 66 file missing, 69 host cannot run virtual machines, \
        70 internal error, 71 system call failed, 73 container exists already, 77 no permission, \
        120 monitor ended, 121 guest kernel panic, 122 guest reset or powered off, 123 guest agent lost, \
        124 guest did not answer in time, 126 program not executable, 127 program not found.
        """

    init(of error: any Error) {
        switch error {
        case let error as Failure: self = error.status
        case let error as SystemError:
            switch error.errno {
            case .permissionDenied, .notPermitted: self = .noPermission
            case .noSuchFileOrDirectory: self = .missing
            default: self = .systemCall
            }
        default: self = .internalError
        }
    }
}

/// A command that cannot go on: one line for the user, naming the file, field or flag.
struct Failure: Error, CustomStringConvertible {
    let status: ExitStatus
    let description: String

    init(_ status: ExitStatus, _ description: String) {
        self.status = status
        self.description = description
    }
}
