/// Why a machine ended.
public enum EndReason: Equatable, Sendable, CustomStringConvertible {
    /// The guest switched itself off.
    case powerOff
    case reset
    /// The guest kernel panicked (it said so through pvpanic before it reset).
    case guestPanic
    case tripleFault
    /// The host asked for it.
    case stopped
    case error(String)

    /// A word, and for errors what happened.
    public var description: String {
        switch self {
        case .powerOff: "power-off"
        case .reset: "reset"
        case .guestPanic: "panic"
        case .tripleFault: "triple-fault"
        case .stopped: "stopped"
        case .error(let text): "error \(text)"
        }
    }
}
