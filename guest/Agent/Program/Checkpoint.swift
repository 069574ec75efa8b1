import CLinux
import Glibc
import Linux

/// Where a child stops and asks the agent for something: it writes one byte to its control socket and reads one.
enum Checkpoint: UInt8 {
    /// Id maps, clock offsets: what only a process outside its namespaces may write.
    case namespaces = 1
    /// A mount's target does not exist; ``ProgramRegisters/subject`` has its index.
    case target
    /// A directory's content is to be copied; ``ProgramRegisters/subject`` has the mount's index.
    case copyUp
    /// ``ProgramRegisters/terminal`` holds a pseudo terminal's master.
    case terminal
    /// `createContainer` hooks run here.
    case createHooks
    /// The working directory does not exist.
    case workingDirectory
    /// Everything is set up; only the program is missing.
    case created
    /// Limits that need a privilege the child's user namespace does not have.
    case limits
}

/// Registers of a program the agent reads.
struct ProgramRegisters {
    var root: SystemCallProgram.Register
    /// What a checkpoint is about.
    var subject: SystemCallProgram.Register
    var target: SystemCallProgram.Register
    var tree: SystemCallProgram.Register
    var terminal: SystemCallProgram.Register

    init(_ program: inout SystemCallProgram) {
        root = program.register()
        subject = program.register()
        target = program.register()
        tree = program.register()
        terminal = program.register()
    }
}

extension SystemCallProgram {
    /// Stops until the agent answers. A closed socket, which means a dead agent, ends the program.
    mutating func stop(at checkpoint: Checkpoint, control: Int32) {
        call(SYS_write, .literal(control), bytes([checkpoint.rawValue]), 1)
        call(SYS_read, .literal(control), buffer(1), 1, atLeast: 1)
    }
}
