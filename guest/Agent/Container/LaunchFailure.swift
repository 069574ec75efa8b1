import Linux
import OCI
import TTRPC

/// What kept a program from running: the stage, as a person reads it, and the kernel's answer.
struct LaunchFailure: Error, Equatable, CustomStringConvertible {
    let stage: String
    let errno: Errno
    /// What the agent was doing for the child.
    var detail = ""

    init(_ stage: String, _ errno: Errno, detail: String = "") {
        self.stage = stage
        self.errno = errno
        self.detail = detail
    }

    init(_ error: SystemError, in stage: String) {
        self.init(stage, error.errno, detail: error.stage)
    }

    var description: String { detail.isEmpty ? "\(stage): \(errno)" : "\(stage): \(detail): \(errno)" }

    /// As the host reads it: `notFound` and `permissionDenied` speak of the program, with runc's words, which engines look for.
    func status(_ process: Process) -> Status {
        let name = process.args.first ?? ""
        if stage == ProcessSteps.findStage || stage == ProcessSteps.executeStage {
            switch errno {
            case .noSuchFileOrDirectory, .notDirectory:
                let text = name.contains("/") ? "stat \(name): no such file or directory" : "executable file not found in $PATH"
                return Status(.notFound, "exec: \"\(name)\": \(text)")
            case .permissionDenied, .notPermitted, .isDirectory: return Status(.permissionDenied, "exec: \"\(name)\": permission denied")
            case .execFormatError: return Status(.permissionDenied, "exec: \"\(name)\": exec format error")
            default: return Status(.invalidArgument, "exec: \"\(name)\": \(errno)")
            }
        }
        switch errno {
        case .timedOut: return Status(.deadlineExceeded, "\(self)")
        case .noMemory, .resourceTemporarilyUnavailable, .tooManyOpenFiles: return Status(.resourceExhausted, "\(self)")
        default: return Status(.invalidArgument, "\(self)")
        }
    }
}
