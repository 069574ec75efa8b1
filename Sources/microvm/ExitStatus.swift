import Linux
import OCI
import Sandbox

/// What `microvm` exits with when it fails itself. A container's own status is passed on as it is.
enum ExitStatus: Int32 {
    /// A container that is not there, or in a state that does not allow it: runc's status for everything.
    case failure = 1
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
    /// Ended by a signal before there was a container.
    case hangup = 129
    case interrupt = 130
    case quit = 131
    case terminated = 143

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
        case let error as SandboxError: self = ExitStatus(of: error.kind)
        case is InvalidSpec, is JSON.Error: self = .badInput
        case let error as BundleError:
            switch error.kind {
            case .malformed: self = .badInput
            case .unreadable(let errno): self = ExitStatus(ofMissing: errno)
            }
        case let error as SystemError: self = ExitStatus(ofCall: error.errno)
        default: self = .internalError
        }
    }

    private init(of kind: SandboxError.Kind) {
        self =
            switch kind {
            case .badInput: .badInput
            case .missing(let errno): ExitStatus(ofMissing: errno)
            case .exists: .cannotCreate
            case .noSuchContainer, .wrongState: .failure
            case .hostUnable: .hostUnable
            case .noPermission: .noPermission
            case .monitorEnded: .monitorEnded
            case .guestPanic: .guestPanic
            case .guestStopped: .guestStopped
            case .agentLost: .agentLost
            case .timedOut: .timedOut
            case .refused: .systemCall
            case .notExecutable: .notExecutable
            case .notFound: .notFound
            case .guest, .hookFailed: .internalError
            case .interrupted(let signal): ExitStatus(rawValue: 128 + signal) ?? .internalError
            }
    }

    private init(ofMissing errno: Errno) {
        self = errno == .permissionDenied || errno == .notPermitted ? .noPermission : .missing
    }

    private init(ofCall errno: Errno) {
        switch errno {
        case .permissionDenied, .notPermitted: self = .noPermission
        case .noSuchFileOrDirectory: self = .missing
        default: self = .systemCall
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
