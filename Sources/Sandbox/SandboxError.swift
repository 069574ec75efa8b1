public import Linux

/// Why a sandbox could not be made, or ended before its container did: one line for a person.
public struct SandboxError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Kind: Sendable, Equatable {
        /// A flag or field asks for what cannot be.
        case badInput
        /// A file named by the user or a part of the installation is not there.
        case missing(Errno)
        /// Another sandbox has this id.
        case exists
        case noSuchContainer
        /// The container is in a state that does not allow it: stopped, running already, paused.
        case wrongState
        /// This host has no `/dev/kvm`, or one that cannot be used.
        case hostUnable
        case noPermission
        /// The virtual machine monitor was killed, or failed.
        case monitorEnded
        case guestPanic
        /// The guest reset itself, powered off or faulted under the container.
        case guestStopped
        /// The guest's agent is gone, or answered what it must not.
        case agentLost
        case timedOut
        /// The virtual machine monitor could not do what it was asked, such as saving the machine.
        case refused
        /// The program cannot be executed.
        case notExecutable
        /// There is no such program.
        case notFound
        /// The agent could not do it, in its own words.
        case guest
        case hookFailed
        /// Given up because of this signal, before there was a container.
        case interrupted(Int32)
    }

    public let kind: Kind
    public let description: String

    public init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}
