import GuestMemory
import KVM
import Linux
import Virtio

/// Why a machine could not be built or run: which step, and the cause.
public struct MachineError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was being done, in words a person can act on.
    public let stage: String
    public let cause: String

    /// The stage in which the kernel file, or too little memory for it, is to blame.
    public static let loadKernel = "load kernel"

    static let readSnapshot = "read the snapshot"
    static let restoreMachine = "restore the machine"
    static let restoreDevices = "restore devices"

    /// A snapshot is to blame, or what it is to be restored on; a boot may still succeed.
    public var isOfSnapshot: Bool { [Self.readSnapshot, Self.restoreMachine, Self.restoreDevices].contains(stage) }

    public init(_ stage: String, _ cause: String) {
        self.stage = stage
        self.cause = cause
    }

    public var description: String { "\(stage): \(cause)" }
}

/// Runs a step and names it in whatever it throws.
func stage<Result>(_ name: String, _ body: () throws -> Result) throws(MachineError) -> Result {
    do { return try body() } catch let error as MachineError { throw error } catch { throw MachineError(name, "\(error)") }
}
