import CLinux
import Glibc

/// A terminal's size in characters.
public struct TerminalSize: Equatable, Sendable {
    public var columns: UInt16
    public var rows: UInt16

    public init(columns: UInt16, rows: UInt16) {
        self.columns = columns
        self.rows = rows
    }
}

/// A terminal's line settings, to be put back.
public struct TerminalSettings {
    fileprivate var value: termios
}

extension Descriptor {
    public var isTerminal: Bool { isatty(raw) == 1 }

    /// A new pseudo terminal: what a person would hold, and what a program reads and writes.
    public static func pseudoTerminal() throws(SystemError) -> (master: Descriptor, terminal: Descriptor) {
        let master = try Descriptor.open("/dev/ptmx", O_RDWR | O_NOCTTY)
        return (master, Descriptor(adopting: try check(clinux_terminal_peer(master.raw), "open terminal")))
    }

    public func terminalSize() throws(SystemError) -> TerminalSize {
        var size = winsize()
        try check(unsafe ioctl(raw, UInt(TIOCGWINSZ), &size), "read terminal size")
        return TerminalSize(columns: size.ws_col, rows: size.ws_row)
    }

    public func setTerminalSize(_ wanted: TerminalSize) throws(SystemError) {
        var size = winsize(ws_row: wanted.rows, ws_col: wanted.columns, ws_xpixel: 0, ws_ypixel: 0)
        try check(unsafe ioctl(raw, UInt(TIOCSWINSZ), &size), "set terminal size")
    }

    /// Makes this terminal the one the calling process's session belongs to, so that changes of its size are signalled.
    public func becomeControllingTerminal() throws(SystemError) {
        try check(clinux_ioctl(raw, UInt(TIOCSCTTY), 0), "take terminal")
    }

    public func terminalSettings() throws(SystemError) -> TerminalSettings {
        var value = termios()
        try check(unsafe tcgetattr(raw, &value), "read terminal settings")
        return TerminalSettings(value: value)
    }

    /// Applies settings once what was written is out.
    public func setTerminalSettings(_ settings: TerminalSettings) throws(SystemError) {
        var value = settings.value
        try check(unsafe tcsetattr(raw, TCSADRAIN, &value), "set terminal settings")
    }
}

extension TerminalSettings {
    /// The same terminal with every byte passed through as it is (`cfmakeraw`).
    public var raw: TerminalSettings {
        var copy = self
        unsafe cfmakeraw(&copy.value)
        return copy
    }
}
